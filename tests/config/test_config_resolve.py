"""Settings: which source wins, where each value came from, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.config import Address, Settings, parse_address, resolve
from steelyard.errors import ConfigError


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "steelyard.toml"
    path.write_text(text)
    return path


def test_defaults_bind_the_loopback_and_keep_data_in_the_repository():
    resolved = resolve({"repository": Path("/models")}, {})
    settings = resolved.settings
    assert str(settings.grpc_address) == "127.0.0.1:8001"
    assert str(settings.http_address) == "127.0.0.1:8000"
    assert settings.data == Path("/models/.steelyard")
    assert settings.max_message_bytes == 64 * 1024 * 1024
    assert resolved.origins["repository"] == "flag"
    assert resolved.origins["data"] == "default"
    assert set(resolved.origins) == set(Settings.model_fields)


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    file = config(tmp_path, "threads = 1\nload_threads = 1\ninline_threshold_us = 1\n")
    environ = {"STEELYARD_THREADS": "2", "STEELYARD_LOAD_THREADS": "2", "HOME": "/root"}
    resolved = resolve({"threads": 3, "load_threads": None}, environ, file)
    settings = resolved.settings
    assert (settings.threads, settings.load_threads, settings.inline_threshold_us) == (3, 2, 1)
    assert resolved.origins["threads"] == "flag"
    assert resolved.origins["load_threads"] == "environment STEELYARD_LOAD_THREADS"
    assert resolved.origins["inline_threshold_us"] == f"file {file}"
    assert resolved.origins["workers"] == "default"


def test_environment_spells_every_kind_of_value():
    environ = {
        "STEELYARD_REPOSITORY": "/m",
        "STEELYARD_GRPC_ADDRESS": "[::1]:0",
        "STEELYARD_MAX_MESSAGE_BYTES": "3 MiB",
        "STEELYARD_MAX_QUEUE_BYTES": "4096",
        "STEELYARD_POLL_INTERVAL_S": "0.5",
        "STEELYARD_REFLECTION": "false",
        "STEELYARD_LOG_REQUESTS": "true",
        "STEELYARD_PROFILE": "production",
    }
    settings = resolve({}, environ).settings
    assert settings.repository == Path("/m")
    assert settings.data == Path("/m/.steelyard")
    assert settings.grpc_address == Address("::1", 0)
    assert settings.max_message_bytes == 3 << 20
    assert settings.max_queue_bytes == 4096
    assert settings.poll_interval_s == 0.5
    assert settings.reflection is False
    assert settings.log_requests is True
    assert settings.profile == "production"


def test_paths_in_the_file_are_relative_to_it(tmp_path):
    settings = resolve(
        {}, {}, config(tmp_path, 'repository = "models"\ndata = "/var/lib/steelyard"\n')
    ).settings
    assert settings.repository == tmp_path / "models"
    assert settings.data == Path("/var/lib/steelyard")


def test_the_environment_may_name_the_file(tmp_path):
    file = config(tmp_path, "threads = 7\n")
    assert resolve({}, {"STEELYARD_CONFIG": str(file)}).settings.threads == 7


def test_the_switches_of_the_build_are_no_settings():
    resolve({}, {"STEELYARD_SANITIZE": "address", "STEELYARD_COVERAGE": "1"})


def test_settings_survive_the_way_to_a_worker():
    settings = resolve({"repository": Path("m"), "grpc_address": "[::1]:0"}, {}).settings
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_dump_as_text_and_numbers():
    dumped = resolve({"grpc_address": "[::1]:0"}, {}).settings.model_dump(mode="json")
    assert dumped["grpc_address"] == "[::1]:0"
    assert dumped["http_address"] == "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("flags", "environ", "text", "expected"),
    [
        ({"front": "http2"}, {}, "", "the http2 front is not there yet"),
        ({"front": "grpc"}, {}, "", "expected 'grpcio', got 'grpc'"),
        ({"workers": 2}, {}, "", "more than one worker is not there yet, got 2"),
        ({"workers": 0}, {}, "", "workers: expected at least 1, got 0"),
        ({"workers": True}, {}, "", "workers: expected a whole number, got true"),
        ({"workres": 1}, {}, "", "unknown key 'workres', did you mean 'workers'?"),
        ({"max_message_bytes": 10}, {}, "", "max_message_bytes: expected at least 1024, got 10"),
        ({"max_message_bytes": "9 TB"}, {}, "", "'64 MiB'"),
        ({"max_message_bytes": "9" * 400}, {}, "", "expected a number of bytes"),
        ({"max_message_bytes": 1 << 31}, {}, "", "expected at most 2147483647"),
        ({"poll_interval_s": float("nan")}, {}, "", "poll_interval_s: expected"),
        ({"data": ""}, {}, "", "data: expected the path of a directory"),
        ({"repository": "a\0b"}, {}, "", "repository: expected the path of a directory"),
        ({"profile": "prod"}, {}, "", "profile: expected 'dev' or 'production', got 'prod'"),
        ({}, {"STEELYARD_WORKER": "1"}, "", "STEELYARD_WORKER, did you mean 'STEELYARD_WORKERS'?"),
        ({}, {"STEELYARD_workers": "1"}, "", "unknown variable STEELYARD_workers"),
        ({}, {"STEELYARD_WORKERS": "one"}, "", "STEELYARD_WORKERS: expected a whole number, got 'one'"),
        ({}, {"STEELYARD_WORKERS": "9" * 5000}, "", "STEELYARD_WORKERS: expected a whole number"),
        ({}, {"STEELYARD_REFLECTION": "maybe"}, "", "STEELYARD_REFLECTION: expected true or false"),
        ({}, {"STEELYARD_POLL_INTERVAL_S": "-1"}, "", "environment STEELYARD_POLL_INTERVAL_S"),
        ({"workers": 1}, {"STEELYARD_WORKERS": "3"}, "", "environment STEELYARD_WORKERS"),
        ({}, {}, "thread = 1", "unknown key 'thread', did you mean 'threads'?"),
        ({}, {}, "threads = '1'", "threads: expected a whole number, got '1'"),
        ({}, {}, "repository = 3", "repository: expected a path, got 3"),
        ({}, {}, "grpc_address = 8001", "grpc_address: expected text of the form HOST:PORT, got 8001"),
        ({}, {}, "[grpc_address]\nport = 1", "grpc_address: expected text of the form HOST:PORT"),
        ({}, {}, "threads = 1\nthreads = 2", "not TOML"),
    ],
)
def test_what_is_wrong_is_refused_with_its_source_and_key(tmp_path, flags, environ, text, expected):
    file = config(tmp_path, text) if text else None
    with pytest.raises(ConfigError) as caught:
        resolve(flags, environ, file)
    assert expected in str(caught.value)
    if file is not None:
        assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.toml: expected a configuration file, but nothing is there"):
        resolve({}, {}, tmp_path / "no.toml")


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        resolve({}, {}, tmp_path)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8001", "127.0.0.1", 8001),
        ("localhost:0", "localhost", 0),
        ("[::1]:65535", "::1", 65535),
        ("[0:0:0:0:0:0:0:1]:1", "::1", 1),
        ("node-1.example_net:80", "node-1.example_net", 80),
    ],
)
def test_addresses(text, host, port):
    assert parse_address(text) == Address(host, port)
    assert parse_address(str(parse_address(text))) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            ":",
            ":8001",
            "8001",
            "localhost",
            "localhost:",
            "localhost:65536",
            "localhost:-1",
            "localhost:1e3",
        ],
        *[
            "::1:8001",
            "[::1]",
            "[::1",
            "[x]:1",
            "[]:1",
            "a b:1",
            "a/b:1",
            "host:٣",
            "host:1 ",
            "a\n:1",
            "unix:/s:1",
        ],
    ],
)
def test_addresses_that_are_none(text):
    with pytest.raises(ValueError, match="expected"):
        parse_address(text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_any_text_is_an_address_or_refused(text):
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert 0 <= address.port <= 65535
    assert parse_address(str(address)) == address


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*Settings.model_fields, "x"]), st.text(max_size=20)))
def test_any_environment_is_resolved_or_refused(values):
    environ = {f"STEELYARD_{key.upper()}": value for key, value in values.items()}
    try:
        resolved = resolve({}, environ)
    except ConfigError:
        return
    assert all(resolved.origins[key].startswith("environment") for key in values)
