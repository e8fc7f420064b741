"""The content digest, against a computation that shares no code with it."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.errors import RepositoryError
from steelyard.models.digest import version_digest


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def by_hand(files: dict[str, bytes]) -> str:
    lines = [
        name.encode() + b"\x00" + hashlib.sha256(data).hexdigest().encode() + b"\n"
        for name, data in files.items()
    ]
    return "sha256:" + hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def test_one_file_by_constants(tmp_path):
    # sha256 of nothing, and of the line made of it: printf 'model.onnx\0e3b0...b855\n' | sha256sum
    write(tmp_path, {"model.onnx": b""})
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    line = subprocess.run(
        ["sh", "-c", f"printf 'model.onnx\\000{empty}\\n' | sha256sum"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert version_digest(tmp_path) == f"sha256:{line.stdout.split()[0]}"


FILES = {
    "model.onnx": b"graph" * 100_000,
    "model.onnx.data": bytes(3 << 20),
    "version.toml": b"[lineage]\n",
    "labels/de.txt": "Käse\n".encode(),
    "labels-2.txt": b"",
    "Ä.bin": b"\0",
    ".hidden": b"x",
    "labels/golden/1.bin": b"1",
}


def test_every_file_counts_external_data_and_hidden_ones_included(tmp_path):
    assert version_digest(write(tmp_path, FILES)) == by_hand(FILES)


def test_signatures_and_golden_examples_do_not_count(tmp_path):
    write(tmp_path, FILES)
    write(
        tmp_path, {"model.sig": b"s", "labels/de.txt.sig": b"s", "golden/a.npy": b"g", "golden/b/c.npy": b"g"}
    )
    assert version_digest(tmp_path) == by_hand(FILES)


def test_a_file_called_golden_counts(tmp_path):
    files = {"model.onnx": b"m", "golden": b"a file"}
    assert version_digest(write(tmp_path, files)) == by_hand(files)


def test_neither_place_nor_times_nor_modes_nor_empty_directories_count(tmp_path):
    first, second = write(tmp_path / "a", FILES), write(tmp_path / "b" / "c", dict(reversed(FILES.items())))
    os.utime(second / "model.onnx", ns=(1, 1))
    (second / "model.onnx").chmod(0o400)
    (second / "empty").mkdir()
    assert version_digest(first) == version_digest(second)


def test_links_count_as_what_they_lead_to(tmp_path):
    write(tmp_path, {"blobs/1": b"m"})
    version = tmp_path / "1"
    version.mkdir()
    (version / "model.onnx").symlink_to("../blobs/1")
    assert version_digest(version) == by_hand({"model.onnx": b"m"})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_change_of_content_or_name_changes_it(tmp_path_factory, data):
    names = st.text("ab.", min_size=1, max_size=4).filter(lambda name: name.strip("."))
    trees = st.dictionaries(names, st.binary(max_size=3), min_size=1, max_size=4)
    first, second = data.draw(trees), data.draw(trees)
    digests = [version_digest(write(tmp_path_factory.mktemp("v"), files)) for files in (first, second)]
    assert digests == [by_hand(first), by_hand(second)]
    assert (digests[0] == digests[1]) == (first == second)


def test_what_cannot_be_digested(tmp_path):
    with pytest.raises(RepositoryError, match="at least one file"):
        version_digest(tmp_path)
    with pytest.raises(RepositoryError, match="cannot be read: No such file"):
        version_digest(tmp_path / "gone")
    (tmp_path / "model.onnx").symlink_to("gone")
    with pytest.raises(RepositoryError, match="a link that leads nowhere"):
        version_digest(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(RepositoryError, match="expected a file or a directory"):
        version_digest(tmp_path)


def test_a_name_that_is_no_utf8_is_refused(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff", "wb"):
        pass
    with pytest.raises(RepositoryError, match="expected file names in UTF-8"):
        version_digest(tmp_path)
