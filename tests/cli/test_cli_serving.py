"""`steelyard serve`, `models` and `infer` with a real server."""

import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from steelyard.cli.main import main
from tests.client.served import Server, linear, put


@pytest.fixture
def ask(server: Server, capsys: pytest.CaptureFixture[str]):
    """Runs `infer` with --json against the server, found by its data directory; gives what it prints."""

    def run(*arguments: str) -> Any:
        assert main(["infer", *arguments, "--data", str(server.data), "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(server: Server, capsys: pytest.CaptureFixture[str]):
    """Runs `infer`, which must end with the given code; gives its error."""

    def run(code: int, *arguments: str) -> str:
        assert main(["infer", *arguments, "--data", str(server.data)]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        return captured.err

    return run


def test_infer_from_json_on_the_command_line(ask):
    answer = ask("linear", "--input", "X=[[1, 2, 3, 4.5]]", "--request-id", "mine", "--version", "1")
    assert answer["outputs"] == {"Y": {"datatype": "FP32", "shape": [1, 3], "data": [[10.5, 10.5, 10.5]]}}
    assert (answer["model"], answer["version"], answer["request_id"]) == ("linear", "1", "mine")
    assert answer["digest"].startswith("sha256:")
    assert len(answer["decision_id"]) == 36
    assert answer["elapsed_ms"] > 0


def test_infer_for_people(server: Server, capsys):
    arguments = ["infer", "linear", "--input", "X=[[1, 2, 3, 4]]", "--address", server.grpc_address]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "Y FP32[1, 3]\n  [[20. 20. 20.]]\n" in out
    assert "linear version 2 (sha256:" in out
    assert "decision 0" in out


def test_infer_from_npy(ask, tmp_path: Path):
    np.save(tmp_path / "x.npy", np.ones((2, 4), np.float32))
    answer = ask("linear", "--input", f"X=@{tmp_path / 'x.npy'}")
    assert answer["outputs"]["Y"]["data"] == [[8.0] * 3] * 2
    np.save(tmp_path / "none.npy", np.ones((0, 4), np.float32))
    assert ask("linear", "--input", f"X=@{tmp_path / 'none.npy'}")["outputs"]["Y"]["shape"] == [0, 3]


def test_infer_from_raw(ask, refused, tmp_path: Path):
    file = tmp_path / "x.raw"
    file.write_bytes(np.ones((2, 4), "<f4").tobytes())
    assert ask("linear", "--input", f"X=@{file}")["outputs"]["Y"]["shape"] == [2, 3]
    assert ask("linear", "--input", f"X=@{file}", "--shape", "X=2,4")["outputs"]["Y"]["shape"] == [2, 3]
    assert "do not fit the shape [3, 4]" in refused(2, "linear", "--input", f"X=@{file}", "--shape", "X=3,4")
    assert "expected dimension 1" in refused(1, "linear", "--input", f"X=@{file}", "--shape", "X=4,2")
    file.write_bytes(b"123")
    assert "multiple of 4 bytes" in refused(2, "linear", "--input", f"X=@{file}")
    file.write_bytes(bytes(12))
    assert "do not fit the shape [-1, 4]" in refused(2, "linear", "--input", f"X=@{file}")
    file.write_bytes(bytes([0x80, 0x3F]))
    error = refused(2, "bfloat", "--input", f"in_BF16=@{file}")
    assert "more than one dimension open" in error
    answer = ask("bfloat", "--input", f"in_BF16=@{file}", "--shape", "in_BF16=1,1")
    assert answer["outputs"]["out_BF16"]["data"] == [[1.0]]


def test_infer_from_a_json_document(ask, refused, tmp_path: Path, monkeypatch):
    document = {
        "in_BOOL": [[True]],
        "in_UINT8": [[255]],
        "in_UINT16": [[1]],
        "in_UINT32": [[1]],
        "in_UINT64": [[2**64 - 1]],
        "in_INT8": [[-128]],
        "in_INT16": [[1]],
        "in_INT32": [[1]],
        "in_INT64": [[-(2**63)]],
        "in_FP16": [[0.5]],
        "in_FP32": [[1]],
        "in_FP64": [[0.1]],
        "in_BYTES": [["häßlich"]],
    }
    file = tmp_path / "inputs.json"
    file.write_text(json.dumps(document))
    answer = ask("identity", "--json-input", str(file))
    outputs = {name.replace("out_", "in_"): entry["data"] for name, entry in answer["outputs"].items()}
    assert outputs == document
    assert "is given by --input and by --json-input" in refused(
        2, "identity", "--json-input", str(file), "--input", "in_INT8=[[1]]"
    )
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"in_BF16": [[1, -2.5]]}')))
    assert ask("bfloat", "--json-input", "-")["outputs"]["out_BF16"]["data"] == [[1.0, -2.5]]


def test_not_a_number_is_data(ask):
    answer = ask("bfloat", "--input", "in_BF16=[[NaN, Infinity, -Infinity]]")
    assert answer["outputs"]["out_BF16"]["data"] == [["NaN", "Infinity", "-Infinity"]]


def test_infer_classes(ask):
    answer = ask("linear", "--input", "X=[[1, 1, 1, 1]]", "--classes", "2")
    assert answer["outputs"]["Y"]["data"] == [["8.000000:0", "8.000000:1"]]


def test_infer_stores_outputs(ask, refused, tmp_path: Path):
    ask("linear", "--input", "X=[[1, 1, 1, 1]]", "--output", str(tmp_path / "y.npz"))
    with np.load(tmp_path / "y.npz") as stored:
        assert stored["Y"].tolist() == [[8.0] * 3]
    ask("linear", "--input", "X=[[1, 1, 1, 1]]", "--classes", "1", "--output", str(tmp_path / "s.npz"))
    with np.load(tmp_path / "s.npz") as stored:
        assert stored["Y"].tolist() == [[b"8.000000:0"]]
    error = refused(2, "linear", "--input", "X=[[1, 1, 1, 1]]", "--output", str(tmp_path / "no" / "y.npz"))
    assert "cannot be written" in error


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (1, ["nothing", "--input", "X=1"], "nothing"),
        (1, ["broken", "--input", "X=1"], "broken"),
        (1, ["linear", "--input", "X=[[1, 2, 3, 4]]", "--version", "9"], "no version '9'"),
        (1, ["linear", "--input", "X=[[1, 2, 3]]"], "expected dimension 1"),
        (1, ["linear"], "X"),
        (2, ["linear", "--input", "Z=1"], "has no input 'Z'; it has X"),
        (2, ["linear", "--input", "X=[[1, 2, 3, 4]]", "--shape", "Z=1"], "has no input 'Z'"),
        (2, ["linear", "--input", "X=[1"], "not JSON"),
        (2, ["linear", "--input", "X=[[1, 2], [3]]"], "equal lengths"),
        (2, ["linear", "--input", 'X=["a"]'], "expected values of FP32"),
        (2, ["linear", "--input", "X=@/does/not/exist"], "cannot be read"),
        (2, ["linear", "--input", "X=@/does/not/exist.npy"], "cannot be read"),
        (2, ["linear", "--json-input", "/does/not/exist"], "cannot be read"),
        (2, ["identity", "--input", "in_INT8=[[128]]"], "from -128 to 127, came 128"),
        (2, ["identity", "--input", "in_UINT8=[[-1]]"], "from 0 to 255, came -1"),
        (2, ["identity", "--input", "in_INT8=[[1.5]]"], "expected values of INT8"),
        (2, ["identity", "--input", "in_BOOL=[[1]]"], "expected values of BOOL"),
        (2, ["identity", "--input", "in_BYTES=[[1]]"], "expected strings"),
        (2, ["identity", "--input", 'in_BYTES=[["a"], "b"]'], "equal lengths"),
    ],
)
def test_infer_refuses(refused, code: int, arguments: list[str], message: str):
    assert message in refused(code, *arguments)


def test_infer_refuses_files_that_are_none(refused, tmp_path: Path):
    empty = tmp_path / "empty.npy"
    empty.touch()
    assert "not an array" in refused(2, "linear", "--input", f"X=@{empty}")
    pickled = tmp_path / "pickled.npy"
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    assert "not an array" in refused(2, "linear", "--input", f"X=@{pickled}")
    lying = tmp_path / "lying.npy"
    np.save(lying, np.ones((1, 4), np.float32))
    lying.write_bytes(lying.read_bytes().replace(b"(1, 4), }        ", b"(99999999, 99), }"))
    assert "error: " in refused(2, "linear", "--input", f"X=@{lying}")
    listed = tmp_path / "list.json"
    listed.write_text("[]")
    assert "expected an object" in refused(2, "linear", "--json-input", str(listed))


def test_inputs_are_bounded(refused, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("STEELYARD_MAX_MESSAGE_BYTES", "1024")
    file = tmp_path / "x.raw"
    file.write_bytes(bytes(2000))
    assert "at most 1024 bytes" in refused(2, "linear", "--input", f"X=@{file}")
    np.save(tmp_path / "x.npy", np.zeros((100, 4), np.float32))
    assert "at most 1024 bytes" in refused(2, "linear", "--input", f"X=@{tmp_path / 'x.npy'}")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b" " * 2000)))
    assert "at most 1024 bytes" in refused(2, "linear", "--json-input", "-")


def test_models_of_a_running_server(server: Server, ask, capsys):
    ask("linear", "--input", "X=[[1, 1, 1, 1], [2, 2, 2, 2]]", "--version", "1")
    for found_by in (["--data", str(server.data)], ["--address", server.grpc_address]):
        assert main(["models", *found_by, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["server"] == server.grpc_address
        rows = {(row["name"], row["version"]): row for row in found["models"]}
        assert rows["linear", 1]["state"] == "READY"
        assert rows["linear", 1]["requests"] >= 1
        assert rows["linear", 1]["rows"] > rows["linear", 1]["requests"]
        assert rows["linear", 1]["mean_batch_rows"] >= 1
        assert rows["linear", 1]["mean_ms"] > 0
        assert rows["linear", 1]["digest"].startswith("sha256:")
        assert rows["linear", 1]["batching"]
        assert rows["broken", 1]["state"] == "UNAVAILABLE"
        assert rows["broken", 1]["reason"]
    assert main(["models", "--data", str(server.data)]) == 0
    out = capsys.readouterr().out
    assert f"Server at {server.grpc_address}" in out
    assert "READY" in out


def test_models_of_a_server_that_is_not_there(capsys):
    assert main(["models", "--address", "127.0.0.1:1"]) == 1
    assert "server at 127.0.0.1:1" in capsys.readouterr().err


def test_a_data_directory_has_one_server(server: Server, capsys):
    addresses = ["--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"]
    done = subprocess.run(
        [sys.executable, "-m", "steelyard.cli.main", "serve", str(server.repository), *addresses],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "another server has this data directory" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_a_port_in_use(server: Server, tmp_path: Path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "steelyard.cli.main", "serve", str(tmp_path), "--json"),
            *("--grpc-address", server.grpc_address, "--http-address", "127.0.0.1:0"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "cannot listen there" in json.loads(done.stderr.splitlines()[-1])["error"]


def test_serve_for_people_until_interrupted(tmp_path: Path):
    put(tmp_path, "m", 1, linear(1))
    command = [sys.executable, "-m", "steelyard.cli.main", "serve", str(tmp_path)]
    command += ["--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait(30) == 0
    assert line.startswith(f"Serving {tmp_path}: gRPC 127.0.0.1:")
    assert errors == ""


def test_a_golden_example_is_recorded_and_tested_at_the_next_check(server: Server, tmp_path: Path, capsys):
    arguments = ["golden", "record", "linear", "--name", "one row", "--input", "X=[[1, 2, 3, 4]]"]
    data = ["--data", str(server.data)]
    assert main([*arguments, "--version", "1", *data, "--json"]) == 0
    kept = Path(json.loads(capsys.readouterr().out)["path"])
    try:
        assert kept == server.repository / "linear" / "1" / "golden" / "one row"
        assert main([*arguments, "--version", "1", *data]) == 2
        assert "is there already" in capsys.readouterr().err
        assert main([*arguments[:4], "../x", *arguments[5:], *data]) == 2
        assert "--name" in capsys.readouterr().err
        copied = tmp_path / "models" / "linear" / "1"
        shutil.copytree(server.repository / "linear" / "1", copied)
        assert main(["check", str(tmp_path / "models")]) == 0
        (copied / "model.onnx").write_bytes(linear(9.0))
        capsys.readouterr()
        assert main(["check", str(tmp_path / "models"), "--json"]) == 1
        assert "1 of 1 golden examples failed: 'one row': output 'Y' differs by" in capsys.readouterr().out
    finally:
        shutil.rmtree(kept.parent)
