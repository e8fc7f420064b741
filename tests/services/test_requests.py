"""Names, versions, parameters and requested outputs of a request, and what its answer brings beside the tensors."""

import re
from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.wire.generated import grpc_service as pb
from tests.support.asking import Asker, arrays, request
from tests.support.server import Server

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE

ONES = {"x": np.ones((1, 4), np.float32)}
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

STRANGE_NAMES = [
    "",
    "..",
    "../double",
    "double/../double",
    "double/1",
    "/double",
    "/etc/passwd",
    "\\double",
    "double\0",
    "\0",
    "double\n",
    "no_such_model",
    "Ω≈ç√",
    "\u202edouble",
    "d" * 10_000,
    "ü" * 5_000,
]


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_a_model_name_that_is_none(ask: Asker, name: str) -> None:
    refusal = ask.refused(request(name, ONES))
    assert refusal.code is NOT_FOUND
    assert len(refusal.message) < 300
    assert "\n" not in refusal.message
    assert "\0" not in refusal.message
    if name.isascii() and name.isprintable() and len(name) < 80:
        assert repr(name) in refusal.message


@pytest.mark.parametrize("name", STRANGE_NAMES)
@pytest.mark.parametrize(
    "method", ["ModelReady", "ModelMetadata", "ModelConfig", "RepositoryModelLoad", "RepositoryModelUnload"]
)
def test_a_strange_name_in_the_other_calls(ask: Asker, method: str, name: str) -> None:
    message = getattr(pb, f"{method}Request")()
    setattr(message, "model_name" if method.startswith("Repository") else "name", name)
    refusal = ask.refused(message, method)
    assert refusal.code in ({NOT_FOUND, INVALID} if method == "RepositoryModelLoad" else {NOT_FOUND})
    assert len(refusal.message) < 300


@pytest.mark.parametrize(
    "version", ["3", "01", "-1", "0", "abc", "1.0", " 1", "1 ", "²", "9" * 5000, "99999999999999999999", "\0"]
)
def test_a_version_that_is_none(ask: Asker, version: str) -> None:
    refusal = ask.refused(request("versions", ONES, version=version))
    assert refusal.code is NOT_FOUND
    assert "'versions'" in refusal.message
    digest = r"\(sha256:[0-9a-f]{12}\)"
    assert re.search(f"ready: 1 {digest}, 2 {digest}, 10 {digest}; labels: champion = 10$", refusal.message)
    assert len(refusal.message) < 400
    assert ask.infer("double", ONES)["y"].tolist() == [[2.0] * 4]


@pytest.mark.parametrize(("version", "factor"), [("", 3), ("1", 1), ("2", 2), ("10", 3)])
def test_versions_by_number_and_the_highest_where_none_is_named(
    ask: Asker, version: str, factor: int
) -> None:
    response = ask.call("ModelInfer", request("versions", ONES, version=version))
    assert response.model_version == (version or "10")
    assert arrays(response)["y"].tolist() == [[float(factor)] * 4]


def test_directories_that_are_no_versions_are_ignored(ask: Asker) -> None:
    metadata = ask.call("ModelMetadata", pb.ModelMetadataRequest(name="double"))
    assert list(metadata.versions) == ["1"]


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("empty_file", ["empty file"]),
        ("cut_off", ["cut off"]),
        ("no_such_operator", ["FlyToTheMoon"]),
        ("wrong_types", ["tensor(string)", "Add"]),
        ("contradiction", ["'x'", "INT64", "FP32"]),
        ("unknown_key", ["max_bacth", "did you mean 'max_batch'"]),
    ],
)
def test_a_model_that_could_not_be_loaded(ask: Asker, model: str, parts: list[str]) -> None:
    refusal = ask.refused(request(model, ONES))
    assert refusal.code is UNAVAILABLE
    index = {entry.name: entry for entry in ask.call("RepositoryIndex").models}
    assert index[model].state == "UNAVAILABLE"
    for part in (*parts,):
        assert part in refusal.message
        assert part in index[model].reason
    assert f"'{model}'" in refusal.message


def test_the_answer_says_which_version_content_and_decision_it_is(ask: Asker) -> None:
    message = request("double", ONES, id="my id")
    body, call = ask.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer").with_call(
        message.SerializeToString(), timeout=30
    )
    response = pb.ModelInferResponse.FromString(body)
    assert (response.model_name, response.model_version, response.id) == ("double", "1", "my id")
    trailing = dict(call.trailing_metadata())
    decision = response.parameters["steelyard_decision_id"].string_param
    digest = response.parameters["steelyard_model_digest"].string_param
    assert UUID7.fullmatch(decision)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    assert trailing["steelyard-decision-id"] == decision
    assert trailing["steelyard-model-version"] == "1"
    assert trailing["steelyard-model-digest"] == digest
    metadata = ask.call("ModelMetadata", pb.ModelMetadataRequest(name="double"))
    assert metadata.properties["digest"] == digest


def test_a_refusal_has_a_decision_too(ask: Asker) -> None:
    for message in (request("nobody", ONES), request("double", {}), b"\xff"):
        assert UUID7.fullmatch(ask.refused(message).trailing["steelyard-decision-id"])


def test_a_failure_in_execution_names_the_version(ask: Asker) -> None:
    refusal = ask.refused(request("embed", {"ids": np.array([[1, 99]], np.int64)}))
    assert refusal.code is INVALID
    assert "'embed'" in refusal.message
    assert "99" in refusal.message
    assert UUID7.fullmatch(refusal.trailing["steelyard-decision-id"])
    assert refusal.trailing["steelyard-model-version"] == "1"


def test_ids_are_echoed_up_to_their_bound(ask: Asker) -> None:
    for given in ("", "a" * 128, "ü" * 64, "zero\0inside"):
        assert ask.call("ModelInfer", request("double", ONES, id=given)).id == given
    for given in ("a" * 129, "ü" * 65):
        refusal = ask.refused(request("double", ONES, id=given))
        assert refusal.code is INVALID
        for part in ("'double'", "at most 128 bytes", str(len(given.encode()))):
            assert part in refusal.message


@pytest.mark.parametrize(
    "outputs", [["sum"], ["difference"], ["difference", "sum"], ["sum", "difference"], []]
)
def test_requested_outputs_select_and_order(ask: Asker, outputs: list[str]) -> None:
    a, b = np.full((2, 3), 5, np.float32), np.full((2, 3), 2, np.float32)
    found = ask.infer("pair", {"a": a, "b": b}, outputs=outputs)
    assert list(found) == (outputs or ["sum", "difference"])
    expected = {"sum": a + b, "difference": a - b}
    assert all(np.array_equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("name", ["z", "", "SUM", "s" * 5000, "a"])
def test_an_output_that_the_model_does_not_have(ask: Asker, name: str) -> None:
    three = np.zeros((1, 3), np.float32)
    refusal = ask.refused(request("pair", {"a": three, "b": three}, outputs=["sum", name]))
    assert refusal.code is INVALID
    for part in ("'pair'", "'difference', 'sum'", repr(name)[:20]):
        assert part in refusal.message
    assert len(refusal.message) < 400


def test_an_output_asked_for_twice(ask: Asker) -> None:
    three = np.zeros((1, 3), np.float32)
    refusal = ask.refused(request("pair", {"a": three, "b": three}, outputs=["sum", "sum"]))
    assert refusal.code is INVALID
    for part in ("'pair'", "'sum'", "twice"):
        assert part in refusal.message


def classes(ask: Asker, values: list[list[float]], top: Any, model: str = "labelled") -> Any:
    message = request(model, {"x": np.array(values, np.float32)}, outputs=["y"])
    message.outputs[0].parameters["classification"].int64_param = top
    return message


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (1, [[b"0.500000:1:dog"]]),
        (2, [[b"0.500000:1:dog", b"0.300000:2:eel"]]),
        (3, [[b"0.500000:1:dog", b"0.300000:2:eel", b"0.200000:0:cat"]]),
        (99, [[b"0.500000:1:dog", b"0.300000:2:eel", b"0.200000:0:cat"]]),
        (2**62, [[b"0.500000:1:dog", b"0.300000:2:eel", b"0.200000:0:cat"]]),
    ],
)
def test_classification_with_labels(ask: Asker, top: int, expected: list[list[bytes]]) -> None:
    response = ask.call("ModelInfer", classes(ask, [[0.2, 0.5, 0.3]], top))
    assert response.outputs[0].datatype == "BYTES"
    assert arrays(response)["y"].tolist() == expected


def test_classification_without_labels_of_many_rows_and_of_none(ask: Asker) -> None:
    found = arrays(
        ask.call("ModelInfer", classes(ask, [[1, 1, 0, 0], [0, 0, np.nan, -np.inf]], 2, "same_fp32"))
    )
    assert found["y"].tolist() == [[b"1.000000:0", b"1.000000:1"], [b"0.000000:0", b"0.000000:1"]]
    message = classes(ask, [[1, 1, 0, 0]], 2, "same_fp32")
    message.inputs[0].shape[0] = 0
    message.raw_input_contents[0] = b""
    assert list(ask.call("ModelInfer", message).outputs[0].shape) == [0, 2]


def test_classification_of_bf16_and_of_a_model_without_a_batch_axis(ask: Asker) -> None:
    bits = np.array([[0x3F80, 0xC000, 0x4000, 0x0000]], np.uint16)
    message = request("same_bf16", {"x": bits}, outputs=["y"], datatypes={"x": "BF16"})
    message.outputs[0].parameters["classification"].int64_param = 4
    found = arrays(ask.call("ModelInfer", message))["y"].tolist()
    assert found == [[b"2.000000:2", b"1.000000:0", b"0.000000:3", b"-2.000000:1"]]
    message = request("fixed", {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}, outputs=["y"])
    message.outputs[0].parameters["classification"].int64_param = 1
    assert arrays(ask.call("ModelInfer", message))["y"].tolist() == [b"5.000000:5"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int64_param", 0),
        ("int64_param", -1),
        ("string_param", "3"),
        ("bool_param", True),
        ("double_param", 1.0),
    ],
)
def test_a_classification_that_is_no_number_of_classes(ask: Asker, kind: str, value: Any) -> None:
    message = classes(ask, [[0.2, 0.5, 0.3]], 1)
    setattr(message.outputs[0].parameters["classification"], kind, value)
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'labelled'", "'y'", "'classification'", "whole number", str(value)):
        assert part in refusal.message


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL"])
def test_classification_of_what_has_no_scores(ask: Asker, datatype: str) -> None:
    values = {"BYTES": np.array([["a", "b", "c", "d"]], object), "BOOL": np.zeros((1, 4), bool)}[datatype]
    message = request(f"same_{datatype.lower()}", {"x": values}, outputs=["y"])
    message.outputs[0].parameters["classification"].int64_param = 1
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in (f"'same_{datatype.lower()}'", "'y'", datatype):
        assert part in refusal.message


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("priority", "string_param", "high"),
        ("priority", "bool_param", True),
        ("priority", "double_param", 1.0),
        ("priority", "int64_param", -1),
        ("timeout", "string_param", "100"),
        ("timeout", "int64_param", -5),
        ("timeout", "double_param", 1e6),
        ("sequence_id", "bool_param", True),
        ("sequence_id", "double_param", 1.0),
        ("sequence_start", "int64_param", 1),
        ("sequence_end", "string_param", "true"),
        ("binary_data_output", "int64_param", 1),
    ],
)
def test_a_parameter_of_the_wrong_type(ask: Asker, name: str, kind: str, value: Any) -> None:
    message = request("double", ONES)
    setattr(message.parameters[name], kind, value)
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'double'", f"'{name}'", "expected", str(value)):
        assert part in refusal.message


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("priority", "uint64_param", 1),
        ("priority", "int64_param", 0),
        ("priority", "uint64_param", 2**64 - 1),
        ("timeout", "int64_param", 0),
        ("timeout", "int64_param", 60_000_000),
        ("timeout", "int64_param", 2**63 - 1),
        ("timeout", "uint64_param", 2**64 - 1),
        ("sequence_id", "int64_param", 7),
        ("sequence_id", "string_param", "seven"),
        ("sequence_start", "bool_param", True),
        ("binary_data_output", "bool_param", False),
        ("triton_enable_empty_final_response", "bool_param", True),
        ("anything_else", "double_param", 0.5),
    ],
)
def test_a_parameter_that_is_taken(ask: Asker, name: str, kind: str, value: Any) -> None:
    message = request("double", ONES)
    setattr(message.parameters[name], kind, value)
    assert arrays(ask.call("ModelInfer", message))["y"].tolist() == [[2.0] * 4]


def test_a_parameter_without_a_value_and_too_many_of_them(ask: Asker) -> None:
    message = request("double", ONES)
    message.parameters["hollow"].SetInParent()
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    assert "'hollow'" in refusal.message
    many = request("double", ONES, parameters={f"p{i}": i for i in range(10_000)})
    refusal = ask.refused(many)
    assert refusal.code is INVALID
    assert "at most 256 parameters" in refusal.message


@pytest.mark.parametrize("seconds", [1e6, 1e9, 5e9])
def test_a_deadline_of_centuries(ask: Asker, seconds: float) -> None:
    assert ask.infer("double", ONES)
    body = request("double", ONES).SerializeToString()
    response = pb.ModelInferResponse.FromString(ask.raw("ModelInfer", body, timeout=seconds))
    assert arrays(response)["y"].tolist() == [[2.0] * 4]


def test_the_server_goes_on(server: Server, ask: Asker) -> None:
    assert server.is_ready()
    assert ask.infer("double", ONES)["y"].tolist() == [[2.0] * 4]
    assert not server.events("worker.died")
    assert not server.events("request.fault")
