"""`steelyard config`: every setting, from wherever it comes."""

import json
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.main import main
from steelyard.config import Settings


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["config", "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_defaults(capsys):
    found = shown(capsys)
    assert set(found) == set(Settings.model_fields)
    assert {entry["origin"] for entry in found.values()} == {"default"}
    assert found["grpc_address"]["value"] == "127.0.0.1:8001"
    assert found["data"]["value"] == ".steelyard"


def test_flag_environment_file(capsys, monkeypatch, tmp_path: Path):
    file = tmp_path / "steelyard.toml"
    file.write_text('log_level = "error"\nthreads = 3\nprofile = "production"\n')
    monkeypatch.setenv("STEELYARD_THREADS", "4")
    monkeypatch.setenv("STEELYARD_LOG_LEVEL", "warning")
    found = shown(capsys, "models", "--config", str(file), "--log-level", "debug")
    assert found["log_level"] == {"value": "debug", "origin": "flag"}
    assert found["threads"] == {"value": 4, "origin": "environment STEELYARD_THREADS"}
    assert found["profile"] == {"value": "production", "origin": f"file {file}"}
    assert found["repository"] == {"value": "models", "origin": "flag"}
    assert found["data"]["value"] == "models/.steelyard"


FLAGS = {
    "grpc_address": ("[::1]:9001", "[::1]:9001"),
    "http_address": ("localhost:0", "localhost:0"),
    "front": ("grpcio", "grpcio"),
    "data": ("/tmp/data", "/tmp/data"),
    "workers": ("1", 1),
    "profile": ("production", "production"),
    "max_message_bytes": ("1 MiB", 1 << 20),
    "max_queue_bytes": ("4096", 4096),
    "threads": ("2", 2),
    "load_threads": ("1", 1),
    "poll_interval_s": ("0.5", 0.5),
    "drain_timeout_s": ("1", 1.0),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "log_requests": (None, True),
    "inline_threshold_us": ("0", 0),
    "reflection": (None, True),
}


def test_every_setting_has_a_flag():
    assert set(FLAGS) | {"repository"} == set(Settings.model_fields)


@pytest.mark.parametrize("name", FLAGS)
def test_flag_of_a_setting(name: str, capsys):
    text, value = FLAGS[name]
    flag = f"--{name.replace('_', '-')}"
    assert shown(capsys, flag, *([] if text is None else [text]))[name] == {"value": value, "origin": "flag"}


def test_switches_can_be_turned_off(capsys):
    found = shown(capsys, "--no-reflection", "--no-log-requests")
    assert found["reflection"] == {"value": False, "origin": "flag"}
    assert found["log_requests"] == {"value": False, "origin": "flag"}


def test_table(capsys):
    assert main(["config", "--reflection"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["reflection", "true", "flag"] in rows
    assert ["workers", "1", "default"] in rows
