"""Adding a version: whole or not at all, described from its graph, next to what it needs."""

import os
import stat
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from steelyard.errors import LoadFailed, ManifestError, RepositoryError
from steelyard.models.add import add_version
from steelyard.models.governance import Governance
from steelyard.models.manifest import ModelManifest, read_model_manifest
from steelyard.models.repository import scan
from steelyard.models.version_manifest import (
    InputManifest,
    Lineage,
    OutputManifest,
    VersionManifest,
    read_version_manifest,
)


def small_model(operator: str = "Add") -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.arange(3, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "in" / "small.onnx"
    path.parent.mkdir()
    onnx.save(small_model(), path)
    return path


@pytest.fixture
def repository(tmp_path) -> Path:
    return tmp_path / "models"


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_the_first_version_with_a_manifest_from_the_graph(repository, source):
    path = add_version(repository, "small", source)
    assert path == repository / "small" / "1"
    assert files(repository) == ["small/1/model.onnx", "small/1/version.toml"]
    manifest = read_version_manifest(path / "version.toml")
    assert manifest == VersionManifest(
        batched=True,
        input=(InputManifest(name="x", datatype="FP32", shape=(-1, 3)),),
        output=(OutputManifest(name="y", datatype="FP32", shape=(-1, 3)),),
    )
    listing = scan(repository)
    assert listing.problems == ()
    assert [version.number for version in listing.models["small"].versions] == [1]


def test_numbers_go_on_above_the_highest_and_may_be_chosen(repository, source):
    assert add_version(repository, "m", source).name == "1"
    assert add_version(repository, "m", source, version=7).name == "7"
    assert add_version(repository, "m", source).name == "8"
    with pytest.raises(RepositoryError, match="7: is there already"):
        add_version(repository, "m", source, version=7)
    (repository / "m" / "9").write_text("a file in the way")
    assert add_version(repository, "m", source).name == "10"
    assert len(list((repository / "m").iterdir())) == 5


def test_what_is_given_goes_on_top(repository, source):
    (source.parent / "labels.txt").write_text("a\nb\nc\n")
    given = VersionManifest(
        input=(InputManifest(name="x", shape=(4, 3)),),
        output=(OutputManifest(name="y", labels="labels.txt"),),
        lineage=Lineage(parent="other/1", notes='quoted " and \\ and \n ünïcode'),
    )
    model = ModelManifest(governance=Governance(owner="a@example.org"))
    path = add_version(repository, "m", source, given=given, model=model)
    manifest = read_version_manifest(path / "version.toml")
    assert manifest.input[0].shape == (4, 3)
    assert manifest.batched is False
    assert manifest.lineage == given.lineage
    assert manifest.output[0].labels == "labels.txt"
    assert (path / "labels.txt").read_text() == "a\nb\nc\n"
    assert read_model_manifest(path.parent / "model.toml") == model


def test_a_manifest_that_is_there_is_not_replaced(repository, source):
    add_version(repository, "m", source, model=ModelManifest())
    before = (repository / "m" / "model.toml").read_bytes()
    with pytest.raises(RepositoryError, match=r"model\.toml: is there already"):
        add_version(repository, "m", source, model=ModelManifest(governance=Governance(owner="b")))
    assert (repository / "m" / "model.toml").read_bytes() == before
    assert files(repository) == ["m/1/model.onnx", "m/1/version.toml", "m/model.toml"]


def test_a_number_that_is_taken_changes_nothing(repository, source):
    add_version(repository, "m", source)
    before = files(repository)
    with pytest.raises(RepositoryError, match="1: is there already"):
        add_version(repository, "m", source, version=1, model=ModelManifest())
    assert files(repository) == before


def test_external_data_comes_along_and_the_copy_runs(repository, tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "big.onnx"
    onnx.save(small_model(), path, save_as_external_data=True, location="big.weights", size_threshold=0)
    version = add_version(repository, "big", path)
    assert files(version) == ["big.weights", "model.onnx", "version.toml"]
    session = onnxruntime.InferenceSession(str(version / "model.onnx"), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"x": np.ones((2, 3), np.float32)})
    assert np.array_equal(answer, [[1, 2, 3], [1, 2, 3]])


def external(path: Path, location: str) -> Path:
    model = small_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("gone.bin", "'gone.bin' is not there"),
        ("../secret.bin", "does not lie in the version's directory"),
        ("/etc/passwd", "does not lie in the version's directory"),
        ("golden/w.bin", "a name that the version's digest leaves out"),
        ("w.sig", "a name that the version's digest leaves out"),
        ("x" * 300, "cannot be read: File name too long"),
        ("model.onnx", "a name that every version has for itself"),
        ("./version.toml", "a name that every version has for itself"),
    ],
)
def test_external_data_that_cannot_come_along(repository, source, location, expected):
    with pytest.raises(LoadFailed) as caught:
        add_version(repository, "m", external(source, location))
    assert expected in str(caught.value)
    assert not repository.exists()


@pytest.mark.parametrize(
    ("raw", "error", "expected"),
    [
        (b"", LoadFailed, "got an empty file"),
        (small_model().SerializeToString()[:-7], LoadFailed, "cut off"),
        (b"PK\x03\x04 not a model", LoadFailed, "expected an ONNX model"),
        (small_model("NoSuchOperator").SerializeToString(), LoadFailed, "NoSuchOperator"),
    ],
)
def test_a_source_that_is_no_model_leaves_nothing_behind(repository, source, raw, error, expected):
    source.write_bytes(raw)
    with pytest.raises(error) as caught:
        add_version(repository, "m", source)
    assert expected in str(caught.value)
    assert str(source) in str(caught.value)
    assert ".adding" not in str(caught.value)
    assert files(repository) == []
    assert not (repository / "m").exists()


def test_labels_that_are_not_there(repository, source):
    given = VersionManifest(output=(OutputManifest(name="y", labels="gone.txt"),))
    with pytest.raises(ManifestError, match=r"'gone\.txt' is not there"):
        add_version(repository, "m", source, given=given)
    assert not repository.exists()


def test_a_manifest_that_contradicts_the_graph_leaves_what_is_there(repository, source):
    add_version(repository, "m", source)
    before = files(repository)
    given = VersionManifest(input=(InputManifest(name="x", datatype="INT64"),))
    with pytest.raises(ManifestError, match="input 'x'"):
        add_version(repository, "m", source, given=given)
    assert files(repository) == before


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\nb", "x" * 256])
def test_names_that_are_none(repository, source, name):
    with pytest.raises(RepositoryError, match="model"):
        add_version(repository, name, source)
    assert not repository.exists()


@pytest.mark.parametrize("version", [0, -1, 1 << 63])
def test_versions_that_are_none(repository, source, version):
    with pytest.raises(RepositoryError, match=f"expected a version from 1 to {(1 << 63) - 1}, got {version}"):
        add_version(repository, "m", source, version=version)


def test_places_that_cannot_be_written(tmp_path, source):
    with pytest.raises(RepositoryError, match="No such file or directory"):
        add_version(tmp_path / "none" / "models", "m", source)
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryError, match="cannot add"):
        add_version(tmp_path / "file", "m", source)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m").write_text("")
    with pytest.raises(RepositoryError, match="cannot add"):
        add_version(tmp_path / "models", "m", source)


def test_others_may_read_what_was_added(repository, source):
    before = os.umask(0o022)
    try:
        path = add_version(repository, "m", source)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o644 for file in path.iterdir())


def test_those_who_add_at_once_get_a_version_each(repository, source):
    got: list[Path] = []
    threads = [
        threading.Thread(target=lambda: got.append(add_version(repository, "m", source))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(path.name) for path in got) == list(range(1, 9))
    assert len(files(repository)) == 16
