"""Data contracts over the real process: what callers hear of bad rows, and that nobody else notices."""

import json
from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.wire.generated import grpc_service as pb
from tests.services.test_bad_rows import stream
from tests.services.test_pipelines import elements
from tests.support.asking import Asker, arrays, request
from tests.support.metrics import metrics
from tests.support.server import Server

PEOPLE = [
    {"age": 3, "country": "AT"},
    {"age": 130, "country": "AT"},
    {"age": None, "country": "BE"},
    {"age": 7, "country": "ZZ"},
]
SERVED = {0: [3, 0], 3: [7, 2]}


def people(*rows: Any) -> dict[str, Any]:
    return {"rows": elements(*(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))}


def parameters(answer: Any) -> dict[str, Any]:
    return {
        name: getattr(value, value.WhichOneof("parameter_choice"))
        for name, value in answer.parameters.items()
    }


def test_refused_rows_are_all_named(ask: Asker) -> None:
    refusal = ask.refused(request("people_refuse", people(*PEOPLE)))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    for said in (
        "model 'people_refuse' version 1: 2 bad rows",
        "row 1, column 'age': expected at most 120, came 130 (rule 'range')",
        "row 2, column 'age': expected a value, came null (rule 'missing')",
    ):
        assert said in refusal.message
    assert ask.infer("people_refuse", people(PEOPLE[0], PEOPLE[3]))["y"].tolist() == [*SERVED.values()]


def test_marked_rows_are_not_answered_and_all_others_are(ask: Asker) -> None:
    call = ask.start(request("people_mark", people(*PEOPLE, b"no json")))
    others = [ask.start(request("people_mark", people(PEOPLE[0]))) for _ in range(20)]
    answer = pb.ModelInferResponse.FromString(call.result())
    found = arrays(answer)
    assert {row: found["y"][row].tolist() for row in SERVED} == SERVED
    assert np.isnan(found["y"][[1, 2, 4]]).all()
    status = found["row_status"].tolist()
    assert [bool(one) for one in status] == [False, True, True, False, True]
    assert status[1] == b"range: column 'age': expected at most 120, came 130"
    assert status[4].startswith(b"json: expected one JSON object")
    assert parameters(answer)["steelyard_rows_marked"] == 3
    for other in others:
        found = arrays(pb.ModelInferResponse.FromString(other.result()))
        assert found["y"].tolist() == [SERVED[0]]
        assert found["row_status"].tolist() == [b""]


def test_a_request_whose_rows_are_all_marked_is_answered_without_the_model(ask: Asker) -> None:
    answer = pb.ModelInferResponse.FromString(
        ask.start(request("people_mark", people(PEOPLE[1], PEOPLE[2]))).result()
    )
    found = arrays(answer)
    assert found["y"].shape == (2, 2)
    assert np.isnan(found["y"]).all()
    assert all(found["row_status"].tolist())


def test_only_the_outputs_that_were_asked_for(ask: Asker) -> None:
    asked = request("people_mark", people(*PEOPLE), outputs=["y"])
    answer = pb.ModelInferResponse.FromString(ask.start(asked).result())
    assert [output.name for output in answer.outputs] == ["y"]
    assert parameters(answer)["steelyard_rows_marked"] == 2
    asked = request("people_mark", people(*PEOPLE), outputs=["row_status"])
    answer = pb.ModelInferResponse.FromString(ask.start(asked).result())
    assert [output.name for output in answer.outputs] == ["row_status"]


def test_flagged_rows_are_served_and_said(ask: Asker) -> None:
    rows = [PEOPLE[0], PEOPLE[1], PEOPLE[3]]
    call = ask.start(request("people_flag", people(*rows)))
    others = [ask.start(request("people_flag", people(PEOPLE[0]))) for _ in range(10)]
    answer = pb.ModelInferResponse.FromString(call.result())
    assert arrays(answer)["y"].tolist() == [[3, 0], [130, 0], [7, 2]]
    said = parameters(answer)
    assert said["steelyard_rows_flagged"] == 1
    assert said["steelyard_flags"] == "row 1, column 'age': expected at most 120, came 130 (rule 'range')"
    for other in others:
        assert "steelyard_flags" not in parameters(pb.ModelInferResponse.FromString(other.result()))


def test_ids_out_of_range_are_marked_before_they_fail_the_model(ask: Asker) -> None:
    ids = np.array([[1, 2], [3, 16], [-1, 0], [15, 0]], np.int64)
    answer = pb.ModelInferResponse.FromString(ask.start(request("embed_marked", {"ids": ids})).result())
    found = arrays(answer)
    assert found["vectors"][0].tolist() == [[1.0] * 4, [2.0] * 4]
    assert found["vectors"][3].tolist() == [[15.0] * 4, [0.0] * 4]
    assert np.isnan(found["vectors"][[1, 2]]).all()
    assert found["row_status"][1] == b"range: column 'ids': expected at most 15, came 16 at 1"


def test_an_input_may_be_left_out(ask: Asker) -> None:
    a = np.array([[1, 2, 3]], np.float32)
    assert ask.infer("optional_factor", {"a": a})["sum"].tolist() == [[3, 4, 5]]
    assert ask.infer("optional_factor", {"a": a, "b": a})["sum"].tolist() == [[2, 4, 6]]
    refusal = ask.refused(request("optional_factor", {"b": a}))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'a'" in refusal.message
    config = ask.call("ModelConfig", pb.ModelConfigRequest(name="optional_factor")).config
    assert {tensor.name: tensor.optional for tensor in config.input} == {"a": False, "b": True}


@pytest.mark.parametrize(
    "bad",
    [
        {"age": "3", "country": "AT"},
        {"age": 3},
        {"age": 3, "country": "AT", "extra": 1},
        b'{"age": 3, "age": 4, "country": "AT"}',
        b'{"age": NaN, "country": "AT"}',
        b'{"age": 1e400, "country": "AT"}',
        b"",
        b"\xff\xfe",
    ],
    ids=[
        "number as text",
        "missing key",
        "extra key",
        "duplicate key",
        "NaN",
        "infinity",
        "empty",
        "no UTF-8",
    ],
)
def test_whatever_is_wrong_with_a_row_only_that_row_is_marked(ask: Asker, bad: Any) -> None:
    found = ask.infer("people_mark", people(PEOPLE[0], bad, PEOPLE[3]))
    assert found["y"][[0, 2]].tolist() == [SERVED[0], SERVED[3]]
    assert [bool(one) for one in found["row_status"].tolist()] == [False, True, False]


def test_rules_and_steps_are_counted_by_version(server: Server, ask: Asker) -> None:
    labels = {"model": "people_mark", "version": "1"}
    rule = {**labels, "rule": "range", "action": "mark"}
    imputed = {**labels, "rule": "allowed", "action": "impute"}
    step = {**labels, "phase": "prepare", "step": "rows/table"}
    before = [metrics(server, **chosen) for chosen in (rule, imputed, step)]
    ask.infer("people_mark", people(*PEOPLE))
    after = [metrics(server, **chosen) for chosen in (rule, imputed, step)]
    counted = "steelyard_contract_values_total"
    assert after[0][counted] - before[0][counted] == 1
    assert after[1][counted] - before[1][counted] == 1
    assert after[2]["steelyard_step_runs_total"] - before[2]["steelyard_step_runs_total"] == 1
    assert after[2]["steelyard_step_errors_total"] - before[2]["steelyard_step_errors_total"] == 2
    assert after[2]["steelyard_step_seconds_total"] > before[2]["steelyard_step_seconds_total"]
    refused = {"model": "people_refuse", "version": "1", "rule": "range", "action": "refuse"}
    start = metrics(server, **refused)[counted]
    ask.refused(request("people_refuse", people(PEOPLE[1])))
    assert metrics(server, **refused)[counted] - start == 1


def test_metadata_has_the_status_of_rows(ask: Asker) -> None:
    found = ask.call("ModelMetadata", pb.ModelMetadataRequest(name="people_mark"))
    assert [(t.name, t.datatype, list(t.shape)) for t in found.outputs] == [
        ("y", "FP32", [-1, 2]),
        ("row_status", "BYTES", [-1]),
    ]


def test_words_that_are_no_text_are_marked_before_they_fail_the_model(ask: Asker) -> None:
    found = ask.infer("marked_words", {"x": elements(b"abc", b"abcd", b"\xff", "né".encode())})
    assert found["y"].tolist() == [b"abc", b"", b"", "né".encode()]
    assert [one.split(b":")[0] for one in found["row_status"].tolist()] == [b"", b"size", b"utf8", b""]


def test_optional_inputs_beside_the_models_own_tensors(ask: Asker) -> None:
    a = np.array([[1, 2, 3]], np.float32)
    assert ask.infer("own_or_files", {"a": a})["sum"].tolist() == [[3, 4, 5]]
    assert ask.infer("own_or_files", {"a": a, "b": a})["sum"].tolist() == [[2, 4, 6]]
    refusal = ask.refused(request("own_or_files", {"a": a, "b": a + 9}))
    assert "column 'b': expected at most 9, came 10.0 at 0" in refusal.message


def test_a_large_request_of_bad_rows_is_answered_beside_others(ask: Asker) -> None:
    rows = 15_000
    large = request("optional_small", {"x": np.full((rows, 1), 200, np.uint8)})
    call = ask.start(large)
    others = [ask.start(request("double", {"x": np.ones((1, 4), np.float32)})) for _ in range(20)]
    for other in others:
        assert other.result()
    answer = pb.ModelInferResponse.FromString(call.result())
    assert parameters(answer)["steelyard_rows_marked"] == rows
    too_many = request("optional_small", {"x": np.zeros((65_537, 1), np.uint8)})
    assert "at most 65536 rows" in ask.refused(too_many).message


def test_a_marked_row_has_no_classes(ask: Asker) -> None:
    asked = request("people_mark", people(PEOPLE[0], PEOPLE[1]))
    asked.outputs.add(name="y").parameters["classification"].int64_param = 1
    found = arrays(pb.ModelInferResponse.FromString(ask.start(asked).result()))["y"]
    assert found.tolist() == [[b"3.000000:0"], [b""]]


def test_classes_of_all_rows_of_a_table_are_bounded(ask: Asker) -> None:
    rows = 40_000
    asked = request("marked_arrow", stream(delay=[1.0] * rows, carrier=["UA"] * rows))
    asked.outputs.add(name="y").parameters["classification"].int64_param = 4
    refusal = ask.refused(asked)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 100000 classes over all rows, came 4 for each of 40000" in refusal.message


def test_columns_are_no_tensors_of_the_model(ask: Asker) -> None:
    refusal = ask.refused(request("columns_or_own", {"b": np.ones((1, 1), np.float32)}))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    own = {"a": np.ones((1, 1), np.float32), "b": np.ones((1, 1), np.float32)}
    assert ask.infer("columns_or_own", own)["sum"].tolist() == [[2.0]]
    columns = {"d": np.array([3.0])}
    assert np.isnan(ask.infer("columns_or_own", columns)["sum"]).all()
