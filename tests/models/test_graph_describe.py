"""The graph and the manifest brought together: filled in, narrowed, or refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from steelyard.errors import LoadFailed, ManifestError
from steelyard.models.graph import describe
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.models.version_manifest import InputManifest, OutputManifest, VersionManifest

NOWHERE = Path("/nonexistent")


@dataclass(frozen=True)
class Arg:
    name: str
    type: str
    shape: Sequence[int | str | None]


X = Arg("x", "tensor(int32)", ["n", 2048])
Y = Arg("y", "tensor(float)", [None, 3])


def manifest(**given: object) -> VersionManifest:
    return VersionManifest.model_validate(given)


def tensor(**given: object) -> dict[str, object]:
    return {"name": "x", **given}


def test_everything_is_filled_in_from_the_graph():
    spec = describe([X], [Y], VersionManifest(), NOWHERE)
    assert spec == ModelSpec(
        inputs=(TensorSpec("x", "INT32", (-1, 2048)),),
        outputs=(TensorSpec("y", "FP32", (-1, 3)),),
        batched=True,
    )
    assert spec.inputs[0].element.item_bytes == 4


def test_the_manifest_narrows_and_names():
    given = manifest(
        input=[tensor(shape=[-1, 2048], datatype="INT32")], output=[{"name": "y", "labels": ["a", "b", "c"]}]
    )
    spec = describe([X], [Y], given, NOWHERE)
    assert spec.outputs[0].labels == ("a", "b", "c")
    fixed = describe([X], [Y], manifest(input=[tensor(shape=[8, 2048])]), NOWHERE)
    assert fixed.inputs[0].dims == (8, 2048)
    assert not fixed.batched


def test_a_shape_that_the_graph_does_not_state_is_the_manifests():
    unknown = Arg("y", "tensor(float)", [])
    assert not describe([X], [unknown], VersionManifest(), NOWHERE).batched
    spec = describe([X], [unknown], manifest(output=[{"name": "y", "shape": [-1, 3]}]), NOWHERE)
    assert spec.outputs[0].dims == (-1, 3)
    assert spec.batched


@pytest.mark.parametrize(
    ("inputs", "batched"),
    [
        ([], False),
        ([[]], False),
        ([["n"]], True),
        ([[None, 3], ["m"]], True),
        ([["n"], [1]], False),
        ([["n"], []], False),
        ([[-1, 3]], True),
        ([[0, 3]], False),
    ],
)
def test_rows_are_counted_where_every_first_axis_is_open(inputs, batched):
    args = [Arg(f"i{number}", "tensor(float)", shape) for number, shape in enumerate(inputs)]
    assert describe(args, [Y], VersionManifest(), NOWHERE).batched is batched
    assert describe(args, [Y], manifest(batched=False), NOWHERE).batched is False


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (manifest(input=[{"name": "xx"}]), "input 'xx' is not in the graph, did you mean 'x'?"),
        (manifest(input=[{"name": "y"}]), "input 'y' is not in the graph, known are: x"),
        (manifest(output=[{"name": "x"}]), "output 'x' is not in the graph, known are: y"),
        (
            manifest(input=[tensor(datatype="INT64")]),
            "input 'x': version.toml says datatype INT64, the graph says datatype INT32",
        ),
        (
            manifest(input=[tensor(shape=[-1])]),
            "input 'x': version.toml says shape [-1], the graph says shape [-1, 2048]",
        ),
        (
            manifest(input=[tensor(shape=[-1, 2047])]),
            "says shape [-1, 2047], the graph says shape [-1, 2048]",
        ),
        (manifest(input=[tensor(shape=[-1, -1])]), "says shape [-1, -1], the graph says shape [-1, 2048]"),
        (manifest(input=[tensor(shape=[])]), "says shape [], the graph says shape [-1, 2048]"),
        (
            manifest(output=[{"name": "y", "labels": ["a"]}]),
            "output 'y' has 1 labels, but its last axis has 3 entries",
        ),
        (
            manifest(batched=True, input=[tensor(shape=[1, 2048])]),
            "input 'x': version.toml says batched = true, the graph says shape [1, 2048]",
        ),
    ],
)
def test_contradictions_name_the_tensor_and_both_sides(given, expected):
    with pytest.raises(ManifestError) as caught:
        describe([X], [Y], given, NOWHERE)
    assert expected in str(caught.value)
    assert "version.toml" in str(caught.value)


def test_without_inputs_nothing_counts_rows():
    with pytest.raises(ManifestError, match="no input that counts rows"):
        describe([], [Y], manifest(batched=True), NOWHERE)


@pytest.mark.parametrize(
    "kind", ["seq(tensor(float))", "map(int64,tensor(float))", "tensor(complex64)", "tensor(float8e5m2)"]
)
def test_a_type_that_the_protocol_cannot_carry_is_named(kind):
    with pytest.raises(LoadFailed) as caught:
        describe([X], [Arg("y", kind, [None])], VersionManifest(), NOWHERE)
    assert "output 'y'" in str(caught.value)
    assert kind in str(caught.value)


def test_a_real_session():
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"]), helper.make_node("Identity", ["s"], ["t"])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("s", TensorProto.STRING, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("t", TensorProto.STRING, []),
        ],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    spec = describe(session.get_inputs(), session.get_outputs(), VersionManifest(), NOWHERE)
    assert spec.inputs == (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("s", "BYTES", ()))
    assert spec.outputs == (TensorSpec("y", "FP32", (-1, 3)), TensorSpec("t", "BYTES", ()))
    assert not spec.batched


DIMS = st.lists(st.integers(-1, 4), max_size=3)


@given(DIMS, DIMS)
def test_what_is_accepted_never_widens_the_graph(graph, given):
    arg = Arg("x", "tensor(float)", [dim if dim >= 0 else None for dim in graph])
    fits = not graph or (
        len(graph) == len(given) and all(g in (-1, m) for g, m in zip(graph, given, strict=True))
    )
    contract = VersionManifest(input=(InputManifest(name="x", shape=tuple(given)),))
    try:
        spec = describe([arg], [Y], contract, NOWHERE)
    except ManifestError:
        assert not fits
    else:
        assert fits
        assert spec.inputs[0].dims == tuple(given)


def labelled(path: str) -> VersionManifest:
    return VersionManifest(output=(OutputManifest(name="y", labels=path),))


def test_labels_from_a_file(tmp_path):
    (tmp_path / "l").mkdir()
    (tmp_path / "l/de.txt").write_text("Käse\r\n\nBrot\n", encoding="utf-8")
    spec = describe([X], [Y], labelled("l/de.txt"), tmp_path)
    assert spec.outputs[0].labels == ("Käse", "", "Brot")


@pytest.mark.parametrize("path", ["/etc/passwd", "../labels.txt", "a/../../labels.txt", "a\0b"])
def test_labels_outside_the_version_are_refused(tmp_path, path):
    (tmp_path.parent / "labels.txt").write_text("a\n")
    with pytest.raises(ManifestError, match="does not lie in the version's directory"):
        describe([X], [Y], labelled(path), tmp_path)


@pytest.mark.parametrize("path", ["golden/labels.txt", "labels.sig"])
def test_labels_that_the_digest_leaves_out_are_refused(tmp_path, path):
    (tmp_path / "golden").mkdir()
    (tmp_path / path).write_text("a\nb\nc\n")
    with pytest.raises(ManifestError, match="a name that the version's digest leaves out"):
        describe([X], [Y], labelled(path), tmp_path)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "'labels.txt' is not there"),
        (b"\xff\n", "utf-8"),
        (b"x" * 1025, "label 1 has 1025 characters"),
        (b"\n" * 1_000_002, "at most 1000000 labels"),
        (b"\n" * ((16 << 20) + 1), "expected at most 16777216 bytes"),
        (b"a\nb\n", "has 2 labels, but its last axis has 3 entries"),
    ],
)
def test_files_of_labels_that_are_wrong(tmp_path, raw, expected):
    if raw is not None:
        (tmp_path / "labels.txt").write_bytes(raw)
    with pytest.raises(ManifestError) as caught:
        describe([X], [Y], labelled("labels.txt"), tmp_path)
    assert expected in str(caught.value)
    assert "output 'y'" in str(caught.value)
