"""The reader of external data's locations, against the `onnx` package and against bytes of all kinds."""

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from steelyard.errors import LoadFailed
from steelyard.models.onnx_file import external_files


def external(name: str, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "8")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model_with_tensors_everywhere() -> ModelProto:
    branch = helper.make_graph([], "branch", [], [], [external("b", "branch.bin")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch)
    node.attribute.append(helper.make_attribute("value", external("v", "attribute.bin")))
    node.attribute.append(
        helper.make_attribute("values", [external("v", "one.bin"), external("v", "two.bin")])
    )
    plain = numpy_helper.from_array(np.arange(4, dtype=np.float32), "plain")
    was_external = external("inline", "unused.bin")
    was_external.data_location = TensorProto.DEFAULT
    graph = helper.make_graph([node], "g", [], [], [external("w", "sub/weights.bin"), plain, was_external])
    sparse = graph.sparse_initializer.add()
    sparse.values.CopyFrom(external("s", "sparse.bin"))
    model = helper.make_model(graph)
    function = model.functions.add(name="f")
    function.node.append(helper.make_node("Constant", [], ["k"], value=external("k", "function.bin")))
    model.training_info.add().initialization.CopyFrom(
        helper.make_graph([], "t", [], [], [external("t", "training.bin")])
    )
    return model


def written(tmp_path: Path, raw: bytes) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(raw)
    return path


def test_tensors_are_found_wherever_they_are(tmp_path):
    path = written(tmp_path, model_with_tensors_everywhere().SerializeToString())
    assert external_files(path) == tuple(sorted(LOCATIONS))


def test_a_model_as_the_onnx_package_saves_it(tmp_path):
    weights = numpy_helper.from_array(np.ones(4096, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4096])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4096])],
        [weights],
    )
    model = helper.make_model(graph)
    onnx.save(model, tmp_path / "inline.onnx")
    assert external_files(tmp_path / "inline.onnx") == ()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert external_files(tmp_path / "m.onnx") == ("m.data",)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "got an empty file"),
        (b"\x3a\x05abc", "a field of 5 bytes where 3 are left; is the file cut off?"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "is the file cut off?"),
        (b"\x3a" + b"\xff" * 11, "a number longer than ten bytes"),
        (b"\x3a\x80", "the end inside a number"),
        (b"\x3b", "wire type 3"),
        (b"\x02\x00", "a field with the number 0"),
        (b"\x38\x01", "field 7 of a model is no message"),
        (b"<html>", "expected an ONNX model"),
    ],
)
def test_what_is_no_model(tmp_path, raw, expected):
    with pytest.raises(LoadFailed) as caught:
        external_files(written(tmp_path, raw))
    assert expected in str(caught.value)
    assert "m.onnx" in str(caught.value)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(LoadFailed, match="cannot be read: No such file"):
        external_files(tmp_path / "gone")
    with pytest.raises(LoadFailed, match="cannot be read: Is a directory"):
        external_files(tmp_path)


def test_graphs_nested_without_end_are_refused(tmp_path):
    raw = b""
    for _ in range(2000):  # a node that holds an attribute that holds a graph that holds a node
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            raw = tag + varint(len(raw)) + raw
    with pytest.raises(LoadFailed, match="nested deeper than 100"):
        external_files(written(tmp_path, b"\x3a" + varint(len(raw)) + raw))


def test_external_data_without_a_place(tmp_path):
    tensor = TensorProto(data_location=TensorProto.EXTERNAL)
    model = helper.make_model(helper.make_graph([], "g", [], [], [tensor]))
    with pytest.raises(LoadFailed, match="no location"):
        external_files(written(tmp_path, model.SerializeToString()))


def test_a_location_as_long_as_a_file_is_not_read(tmp_path):
    model = helper.make_model(helper.make_graph([], "g", [], [], [external("w", "x" * 5000)]))
    with pytest.raises(LoadFailed, match="a text of 5000 bytes"):
        external_files(written(tmp_path, model.SerializeToString()))


def test_a_large_model_is_skipped_and_not_read(tmp_path):
    weights = numpy_helper.from_array(np.zeros(1 << 20, np.float32), "w")
    model = helper.make_model(helper.make_graph([], "g", [], [], [weights, external("w", "last.bin")]))
    assert external_files(written(tmp_path, model.SerializeToString())) == ("last.bin",)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


NAMES = ["attribute", "branch", "function", "one", "sparse", "sub/weights", "training", "two"]
LOCATIONS = {f"{name}.bin" for name in NAMES}
WHOLE = model_with_tensors_everywhere().SerializeToString()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_is_cut_off_is_refused_or_shows_less(tmp_path_factory, length):
    path = written(tmp_path_factory.getbasetemp(), WHOLE[:length])
    with contextlib.suppress(LoadFailed):
        assert set(external_files(path)) <= LOCATIONS


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=1, max_size=300), st.integers(0, len(WHOLE)))
def test_any_bytes_are_read_or_refused(tmp_path_factory, raw, at):
    for content in (raw, WHOLE[:at] + raw + WHOLE[at + len(raw) :]):
        with contextlib.suppress(LoadFailed):
            external_files(written(tmp_path_factory.getbasetemp(), content))
