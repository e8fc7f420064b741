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
    assert found["grpc_address"]["value"] == ["127.0.0.1:8001"]
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
    "grpc_address": ("[::1]:9001,unix:/run/s", ["[::1]:9001", "unix:/run/s"]),
    "grpc_tls_address": ("localhost:0", ["localhost:0"]),
    "tls_certificate": ("/tmp/c", "/tmp/c"),
    "tls_key": ("/tmp/k", "/tmp/k"),
    "tls_client_ca": ("/tmp/a", "/tmp/a"),
    "grpc_socket_mode": ("0660", "0660"),
    "http_address": ("localhost:0", "localhost:0"),
    "front": ("grpcio", "grpcio"),
    "data": ("/tmp/data", "/tmp/data"),
    "workers": ("1", 1),
    "profile": ("production", "production"),
    "retirement_keys": ("/tmp/r", "/tmp/r"),
    "webhook_url": ("https://hooks.example/x", "https://hooks.example/x"),
    "max_message_bytes": ("1 MiB", 1 << 20),
    "compress_answers": ("gzip", "gzip"),
    "max_queue_bytes": ("4096", 4096),
    "threads": ("2", 2),
    "load_threads": ("1", 1),
    "poll_interval_s": ("0.5", 0.5),
    "drain_timeout_s": ("1", 1.0),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "log_requests": (None, True),
    "journal_segment_bytes": ("1 MiB", 1 << 20),
    "journal_segment_age_s": ("5", 5.0),
    "journal_commit_interval_ms": ("2", 2.0),
    "audit_interval_s": ("3600", 3600.0),
    "feedback_retention_days": ("30", 30.0),
    "inline_threshold_us": ("0", 0),
    "reflection": (None, True),
    "max_connections": ("10", 10),
    "max_streams": ("10", 10),
    "max_open_calls": ("1000", 1000),
    "max_frame_bytes": ("1 MiB", 1 << 20),
    "stream_window_bytes": ("2 MiB", 2 << 20),
    "connection_window_bytes": ("2 MiB", 2 << 20),
    "connection_received_bytes": ("512 MiB", 512 << 20),
    "total_received_bytes": ("2 GiB", 2 << 30),
    "connection_send_bytes": ("1 MiB", 1 << 20),
    "total_send_bytes": ("1 GiB", 1 << 30),
    "max_header_bytes": ("4 KiB", 4096),
    "hard_header_bytes": ("1 MiB", 1 << 20),
    "hard_header_fields": ("100", 100),
    "max_continuations": ("4", 4),
    "reset_burst": ("100", 100),
    "reset_rate": ("100", 100),
    "glitch_burst": ("100", 100),
    "glitch_rate": ("100", 100),
    "max_acknowledgements": ("100", 100),
    "max_settings_entries": ("8", 8),
    "handshake_timeout_s": ("5", 5),
    "frame_timeout_s": ("5", 5),
    "body_timeout_s": ("5", 5),
    "upload_timeout_s": ("5", 5),
    "write_timeout_s": ("5", 5),
    "idle_timeout_s": ("0", 0),
    "max_connection_age_s": ("3600", 3600),
    "keepalive_interval_s": ("10", 10),
    "keepalive_timeout_s": ("5", 5),
    "model_signers": ("/tmp/s", "/tmp/s"),
    "tlog_key": ("/tmp/l", "/tmp/l"),
    "witness_key": ("/tmp/w", "/tmp/w"),
}

# What a setting has no sense without.
BESIDE = {"grpc_tls_address": "localhost:0", "tls_certificate": "/tmp/c", "tls_key": "/tmp/k"}


def test_every_setting_has_a_flag():
    assert set(FLAGS) | {"repository"} == set(Settings.model_fields)


@pytest.mark.parametrize("name", FLAGS)
def test_flag_of_a_setting(name: str, capsys):
    text, value = FLAGS[name]
    flag = f"--{name.replace('_', '-')}"
    arguments = [flag] if text is None else [flag, text]
    if "tls" in name:
        beside = {key: given for key, given in BESIDE.items() if key != name}
        arguments += [f"--{key.replace('_', '-')}={given}" for key, given in beside.items()]
    assert shown(capsys, *arguments)[name] == {"value": value, "origin": "flag"}


def test_the_flag_of_addresses_may_be_repeated(capsys):
    found = shown(capsys, "--grpc-address", "a:1", "--grpc-address", "b:2,unix:/c")
    assert found["grpc_address"]["value"] == ["a:1", "b:2", "unix:/c"]
    assert main(["config", "--grpc-address", "a:1", "--grpc-address", "b:2"]) == 0
    assert "a:1, b:2" in capsys.readouterr().out


def test_switches_can_be_turned_off(capsys):
    found = shown(capsys, "--no-reflection", "--no-log-requests")
    assert found["reflection"] == {"value": False, "origin": "flag"}
    assert found["log_requests"] == {"value": False, "origin": "flag"}


def test_table(capsys):
    assert main(["config", "--reflection"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["reflection", "true", "flag"] in rows
    assert ["workers", "1", "default"] in rows
