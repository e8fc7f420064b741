"""`steelyard new` where it refuses, where no server runs, and what it leaves on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from steelyard.cli.main import main
from steelyard.models.golden import read_example
from steelyard.models.manifest import read_model_manifest
from steelyard.models.repository import scan
from steelyard.wire import decode_request
from tests.client.served import identity, linear, model, onnx_file

OWNED = (
    "--owner",
    "Churn",
    "--developed-by",
    "Science",
    "--validated-by",
    "Risk",
    "--purpose",
    "who leaves",
    "--retire-on",
    "2999-12-31",
)


def make(capsys: pytest.CaptureFixture[str], file: Path, *options: str, name: str = "m") -> Any:
    assert main(["new", name, str(file), *OWNED, *options, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return onnx_file(tmp_path / "m.onnx", linear(1))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def refused(file: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Runs `new`, which must end with the given code and publish nothing; gives its error."""

    def run(code: int, *options: str, of: Path = file) -> str:
        assert main(["new", "m", str(of), "--repository", str(repository), *options]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert not repository.exists()
        assert not list(tmp_path.glob(".trying-*"))
        return captured.err

    return run


def test_a_model_of_given_inputs_where_no_server_runs(file: Path, repository: Path, capsys):
    # The repository is there and empty, as before a first model.
    repository.mkdir()
    options = ["--repository", str(repository), "--input", "X=[[1, 2, 3, 4]]", "--tier", "2"]
    said = make(capsys, file, *options)
    assert (said["model"], said["version"], said["server"], said["golden"]["made_up"]) == (
        "m",
        1,
        None,
        False,
    )
    assert said["serve"] == f"steelyard serve {repository} --profile production"
    listing = scan(repository)
    assert not listing.problems
    (found,) = listing.models.values()
    assert [version.number for version in found.versions] == [1]
    governance = read_model_manifest(found.manifest_path).governance
    assert (governance.owner, governance.tier, str(governance.retire_on)) == ("Churn", "2", "2999-12-31")
    example = read_example(Path(said["golden"]["path"]))
    assert decode_request(example.request).inputs[0].shape == (1, 4)
    assert json.loads(Path(said["dashboard"]).read_text())["title"] == "Steelyard: m"
    assert sorted(path.name for path in repository.iterdir()) == ["m"]
    assert main(["check", str(repository), "--profile", "production"]) == 0
    assert main(["new", "m", str(file), *OWNED, "--repository", str(repository)]) == 2
    assert "steelyard add adds a version" in capsys.readouterr().err


def test_inputs_are_made_up_where_none_are_given_and_that_is_said(file: Path, repository: Path, capsys):
    strings = onnx_file(file.with_name("strings.onnx"), identity("BYTES", "BF16", "INT8"))
    assert main(["new", "m", str(file), *OWNED, "--repository", str(repository)]) == 0
    assert "its inputs are made up" in capsys.readouterr().out
    assert "made up" in read_example(repository / "m" / "1" / "golden" / "first").options.note
    assert main(["check", str(repository), "--profile", "production"]) == 0
    # A model that no server can run.
    assert main(["new", "s", str(strings), *OWNED, "--repository", str(repository)]) == 1


@pytest.mark.parametrize("datatype", ["BYTES", "BF16", "BOOL", "INT64", "FP16"])
def test_every_kind_of_tensor(datatype: str, tmp_path: Path, repository: Path, capsys):
    file = onnx_file(tmp_path / "i.onnx", identity(datatype))
    options = ("--repository", str(repository), "--dashboard", str(tmp_path / "board.json"))
    said = make(capsys, file, *options)
    assert said["golden"]["made_up"]
    assert Path(said["dashboard"]) == tmp_path / "board.json"


def test_every_missing_key_is_named_at_once(refused):
    error = refused(2, "--owner", "Churn")
    assert "expected --developed-by, --validated-by, --purpose, --retire-on too" in error


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        (2, ("--developed-by", "risk "), "someone else than developed_by"),
        (2, ("--retire-on", "soon"), "--retire-on"),
        (1, ("--retire-on", "2020-01-01"), "its last day of service was 2020-01-01"),
        (2, ("--input", "Z=[1]"), "has no input 'Z'"),
        (2, ("--input", "X"), "expected NAME=VALUE"),
        (1, ("--input", "X=[[1, 2]]"), "expected dimension 1"),
        (2, ("--shape", "X=1,4"), "expected --input too"),
        (2, ("--dashboard", "/does/not/exist/d.json"), "expected a directory"),
        (2, ("--wait-s", "0"), "--wait-s"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_published(
    code: int, options: tuple[str, ...], said: str, refused
):
    assert said in refused(code, *OWNED, *options)


def test_a_model_that_answers_differently_each_time_is_refused(tmp_path: Path, refused):
    noise = model(
        [
            helper.make_node("RandomNormalLike", ["X"], ["noise"]),
            helper.make_node("Add", ["X", "noise"], ["Y"]),
        ],
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["n", 4])],
    )
    error = refused(1, *OWNED, of=onnx_file(tmp_path / "noise.onnx", noise))
    assert "answers the same request differently" in error


def test_a_file_that_is_no_model(tmp_path: Path, refused):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no ONNX")
    assert "expected an ONNX model" in refused(1, *OWNED, of=broken)


def test_a_server_over_another_repository(server, file: Path, repository: Path, refused):
    error = refused(2, *OWNED, "--data", str(server.data))
    assert f"serves {server.repository}" in error
