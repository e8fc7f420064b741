"""`steelyard tune`: what it refuses, and a short run on a real server."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from steelyard.cli.main import main
from steelyard.client.requests import Request, encode_request
from steelyard.models.manifest import read_model_manifest
from steelyard.tune.load import Load
from tests.client.served import Server, linear, put
from tests.support import models


@pytest.mark.parametrize("p99", ["0ms", "20 minutes", "-1ms", "nan"])
def test_a_time_that_is_none(p99: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["tune", "m", "--p99", p99, "--repository", str(tmp_path)]) == 2
    assert "20ms" in capsys.readouterr().err


def test_a_model_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put(tmp_path, "classifier", 1, linear(1))
    assert main(["tune", "clasifier", "--p99", "20ms", "--repository", str(tmp_path)]) == 1
    assert "did you mean 'classifier'?" in capsys.readouterr().err
    (tmp_path / "classifier" / "model.toml").write_text("[serving]\nversions = { list = [7] }\n")
    assert main(["tune", "classifier", "--p99", "20ms", "--repository", str(tmp_path)]) == 1
    assert "none of the versions" in capsys.readouterr().err


def test_what_could_not_be_written_is_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put(tmp_path, "m", 1, linear(1))
    (tmp_path / "m" / "model.toml").write_text("serving = { max_batch = 3 }\n")
    assert main(["tune", "m", "--p99", "20ms", "--repository", str(tmp_path)]) == 2
    assert "measure with --no-write" in capsys.readouterr().err


def test_a_model_that_takes_nothing_made_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    version = put(tmp_path, "closed", 1, models.identity("INT64", ("batch", 4)))
    (version / "version.toml").write_text(
        '[[input]]\nname = "x"\ndatatype = "INT64"\nshape = [-1, 4]\ncontract = { min = 1000 }\n'
    )
    asked = ["tune", "closed", "--p99", "20ms", "--repository", str(tmp_path), "--seconds", "5"]
    assert main(asked) == 1
    assert "give some with --input" in capsys.readouterr().err
    rows = tmp_path / "rows.json"
    rows.write_text('[{"x": [[1000, 1000, 1000, 1000]]}, {"x": [[1, 1, 1, 1]]}]')
    assert main([*asked, "--input", str(rows)]) == 2
    assert "the model does not take it" in capsys.readouterr().err


async def test_load_counts_every_request_once(server: Server):
    body = encode_request(Request(model="linear", inputs={"X": np.ones((1, 4), np.float32)}))
    wrong = encode_request(Request(model="nobody", inputs={"X": np.ones((1, 4), np.float32)}))
    load = Load(server.grpc_address, 1 << 20)
    sample = await load.closed([body], 3, 0.05)
    assert sample.failed == 0
    assert sample.answered > 0
    assert 0 < sample.p50_ms <= sample.p99_ms
    sample = await load.opened([body, wrong], 400, 0.1, seed=1)
    assert (sample.answered, sample.failed) == (20, 20)
    await load.close()
    sample = await load.closed([body], 2, 0.05)
    assert (sample.answered, sample.p99_ms) == (0, math.inf)


@pytest.mark.extra
def test_the_choice_and_its_evidence_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put(tmp_path, "m", 1, linear(1))
    manifest = tmp_path / "m" / "model.toml"
    manifest.write_text('# ours\n[serving]\ndevice = "cpu"  # no other\n')
    asked = ["tune", "m", "--repository", str(tmp_path), "--seconds", "5", "--json"]
    assert main([*asked, "--p99", "1us"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["chosen"], found["written"]) == (False, None, [])
    assert main([*asked, "--p99", "2s", "--threads", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    text = manifest.read_text()
    assert text.startswith('# ours\n[serving]\ndevice = "cpu"  # no other\n')
    serving = read_model_manifest(manifest).serving
    assert (serving.instances, serving.threads) == (found["chosen"]["instances"], found["chosen"]["threads"])
    evidence = json.loads((tmp_path / "m" / "tune.json").read_text())
    assert evidence["digest"].startswith("sha256:")
    assert evidence["chosen_at"]["failed"] == 0
    assert evidence["chosen_at"]["p99_ms"] <= 2000
    assert (tmp_path / "m" / "tune.svg").read_text().startswith("<svg")
    assert main(["check", str(tmp_path)]) == 0


def test_whoever_ends_it_ends_its_server_and_reads_no_traceback(tmp_path: Path) -> None:
    put(tmp_path, "m", 1, linear(1))
    program = "import sys; from steelyard.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "tune", "m", "--p99", "20ms", "--repository", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        told = ""
        while "as it is served now" not in told and (line := running.stderr.readline()):
            told += line
        serving = psutil.Process(running.pid).children(recursive=True)
        running.terminate()
        told += running.stderr.read()
        assert running.wait() == 130
    assert "Traceback" not in told, told
    assert serving
    assert not [process for process in serving if process.is_running()]
