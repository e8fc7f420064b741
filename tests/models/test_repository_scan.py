"""What a scan finds, what it leaves out, and what it reports without failing."""

import os
from pathlib import Path

import pytest

from steelyard.errors import RepositoryError
from steelyard.models.repository import Listing, scan


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def found(listing: Listing) -> dict[str, list[int]]:
    return {name: [version.number for version in model.versions] for name, model in listing.models.items()}


def problems(listing: Listing) -> dict[str, str]:
    return {problem.path.name: problem.message for problem in listing.problems}


def test_models_and_versions_in_order(tmp_path):
    put(tmp_path, "b/10/model.onnx", "b/9/model.onnx", "a/1/model.onnx", "a/1/version.toml", "a/model.toml")
    listing = scan(tmp_path)
    assert found(listing) == {"a": [1], "b": [9, 10]}
    assert list(listing.models) == ["a", "b"]
    assert listing.problems == ()
    a = listing.models["a"]
    assert a.path == tmp_path / "a"
    assert a.manifest_path == tmp_path / "a" / "model.toml"
    assert a.manifest_fingerprint is not None
    assert a.versions[0].path == tmp_path / "a" / "1"
    assert [file.relative for file in a.versions[0].fingerprint] == ["model.onnx", "version.toml"]
    assert listing.models["b"].manifest_fingerprint is None


def test_an_empty_repository_has_nothing_wrong_with_it(tmp_path):
    assert scan(tmp_path) == Listing({}, ())


def test_hidden_names_files_and_other_directories_are_ignored(tmp_path):
    put(tmp_path, "README.md", ".steelyard/lock", ".git/1/model.onnx", "m/1/model.onnx")
    put(
        tmp_path, "m/README", "m/3", "m/01/model.onnx", "m/0/model.onnx", "m/-1/model.onnx", "m/v2/model.onnx"
    )
    put(tmp_path, "m/golden/x", "m/.adding-1/model.onnx")
    listing = scan(tmp_path)
    assert found(listing) == {"m": [1]}
    assert listing.problems == ()


def test_what_is_wrong_hides_only_itself(tmp_path):
    put(
        tmp_path,
        "good/1/model.onnx",
        "half/1/model.onnx",
        "half/2/weights.bin",
        "flat/model.onnx",
        "none/2/x",
    )
    put(tmp_path, "a..b/1/model.onnx")
    (tmp_path / "good/7").symlink_to("gone")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    listing = scan(tmp_path)
    assert found(listing) == {"good": [1], "half": [1]}
    said = problems(listing)
    assert said["2"].endswith("no model.onnx")
    assert said["7"].endswith("is a link that leads nowhere")
    assert said["flat"].endswith("no version, expected 1/model.onnx")
    assert said["none"].endswith("no version that can be served")
    assert said["gone"].endswith("is a link that leads nowhere")
    assert "cannot be read" in said["loop"]
    assert "holds '..'" in said["a..b"]
    assert any("not valid UTF-8" in message for message in said.values())
    for problem in listing.problems:
        f"{problem.path}{problem.message}".encode()


def test_a_model_that_is_a_directory_is_no_model(tmp_path):
    (tmp_path / "m/1/model.onnx").mkdir(parents=True)
    assert problems(scan(tmp_path))["1"].endswith("no model.onnx")


def test_links_to_models_versions_and_files_are_followed(tmp_path):
    put(tmp_path, "store/abc/model.onnx", "blobs/1")
    repository = tmp_path / "repository"
    (repository / "m").mkdir(parents=True)
    (repository / "m/1").symlink_to(tmp_path / "store/abc")
    (repository / "m/2").mkdir()
    (repository / "m/2/model.onnx").symlink_to(tmp_path / "blobs/1")
    (repository / "n").symlink_to("m")
    assert found(scan(repository)) == {"m": [1, 2], "n": [1, 2]}


@pytest.mark.parametrize("links", [1, 12])
def test_links_to_their_own_parent_end(tmp_path, links):
    put(tmp_path, "m/1/model.onnx", "ok/1/model.onnx")
    (tmp_path / "m/1/sub").mkdir()
    for number in range(links):
        (tmp_path / f"m/1/sub/{number}").symlink_to(".")
    listing = scan(tmp_path)
    assert found(listing) == {"ok": [1]}
    assert "expected at most" in problems(listing)["1"]


def test_too_many_files_are_a_problem(tmp_path):
    put(tmp_path, "m/1/model.onnx", "m/2/model.onnx")
    for number in range(10_000):
        (tmp_path / f"m/2/{number}").touch()
    listing = scan(tmp_path)
    assert found(listing) == {"m": [1]}
    assert "expected at most 10000 files" in problems(listing)["2"]


def test_a_pipe_is_a_problem(tmp_path):
    put(tmp_path, "m/1/model.onnx")
    os.mkfifo(tmp_path / "m/1/pipe")
    assert "expected a file or a directory" in problems(scan(tmp_path))["1"]


def test_a_manifest_that_cannot_be_read_is_left_to_its_reader(tmp_path):
    put(tmp_path, "m/1/model.onnx")
    (tmp_path / "m/model.toml").symlink_to("gone")
    model = scan(tmp_path).models["m"]
    assert model.manifest_fingerprint is not None


def test_a_repository_that_cannot_be_read(tmp_path):
    with pytest.raises(RepositoryError, match="nothing is there"):
        scan(tmp_path / "gone")
    put(tmp_path, "file")
    with pytest.raises(RepositoryError, match="no directory"):
        scan(tmp_path / "file")
    with pytest.raises(RepositoryError, match="no directory"):
        scan(tmp_path / "file" / "below")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RepositoryError, match="cannot be read"):
        scan(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to("gone")
    with pytest.raises(RepositoryError, match="nothing is there"):
        scan(tmp_path / "dangling")


def test_the_fingerprint_sees_what_a_writer_does(tmp_path):
    put(tmp_path, "m/1/model.onnx", "m/1/golden/a")

    def fingerprint():
        return scan(tmp_path).models["m"].versions[0].fingerprint

    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    graph = tmp_path / "m/1/model.onnx"
    graph.write_bytes(b"longer")
    seen.append(fingerprint())
    os.utime(graph, ns=(1, 1))
    seen.append(fingerprint())
    other = tmp_path / "m/1/other"
    other.write_bytes(b"longer")
    os.utime(other, ns=(1, 1))
    os.replace(other, graph)
    seen.append(fingerprint())
    put(tmp_path, "m/1/golden/b")
    seen.append(fingerprint())
    assert len(set(seen)) == len(seen)
