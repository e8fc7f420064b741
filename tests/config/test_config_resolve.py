"""Settings: which source wins, where each value came from, and what is refused."""

from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from steelyard.addresses import Address, UnixAddress, parse_address, parse_grpc_address
from steelyard.config import Settings, resolve
from steelyard.errors import ConfigError
from steelyard.fronts.http2.patience import Patience
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.supervisor.front import limits, patience, total_limits

# Whole numbers among the settings that bound something else than the front.
NO_LIMITS = {
    "workers",
    "max_queue_bytes",
    "threads",
    "load_threads",
    "inline_threshold_us",
    "journal_segment_bytes",
}

TLS = {"grpc_tls_address": "127.0.0.1:0", "tls_certificate": "c.pem", "tls_key": "k.pem"}


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "steelyard.toml"
    path.write_text(text)
    return path


def test_defaults_bind_the_loopback_and_keep_data_in_the_repository():
    resolved = resolve({"repository": Path("/models")}, {})
    settings = resolved.settings
    assert settings.grpc_address == (Address("127.0.0.1", 8001),)
    assert settings.grpc_tls_address == ()
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
        "STEELYARD_GRPC_ADDRESS": "[::1]:0, unix:/run/s.sock",
        "STEELYARD_MAX_STREAMS": "7",
        "STEELYARD_IDLE_TIMEOUT_S": "5",
        "STEELYARD_MAX_FRAME_BYTES": "1 MiB",
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
    assert settings.grpc_address == (Address("::1", 0), UnixAddress(Path("/run/s.sock")))
    assert settings.max_streams == 7
    assert settings.idle_timeout_s == 5
    assert settings.max_frame_bytes == 1 << 20
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


def test_files_of_tls_in_the_file_are_relative_to_it(tmp_path):
    text = """
    grpc_address = []
    grpc_tls_address = ["0.0.0.0:443", "[::]:443"]
    tls_certificate = "server.pem"
    tls_key = "/etc/server.key"
    tls_client_ca = "clients.pem"
    """
    settings = resolve({}, {}, config(tmp_path, text)).settings
    assert settings.grpc_address == ()
    assert settings.grpc_tls_address == (Address("0.0.0.0", 443), Address("::", 443))
    assert settings.tls_certificate == tmp_path / "server.pem"
    assert settings.tls_key == Path("/etc/server.key")
    assert settings.tls_client_ca == tmp_path / "clients.pem"


def test_the_environment_may_name_the_file(tmp_path):
    file = config(tmp_path, "threads = 7\n")
    assert resolve({}, {"STEELYARD_CONFIG": str(file)}).settings.threads == 7


def test_the_switches_of_the_build_are_no_settings():
    resolve({}, {"STEELYARD_SANITIZE": "address", "STEELYARD_COVERAGE": "1"})


def test_settings_survive_the_way_to_a_worker():
    settings = resolve(
        {"repository": Path("m"), "grpc_address": ["[::1]:0", "unix:/a,b"], **TLS}, {}
    ).settings
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_dump_as_text_and_numbers():
    dumped = resolve({"grpc_address": "[::1]:0"}, {}).settings.model_dump(mode="json")
    assert dumped["grpc_address"] == ["[::1]:0"]
    assert dumped["http_address"] == "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("flags", "environ", "text", "expected"),
    [
        ({"front": "grpc"}, {}, "", "front: expected 'http2' or 'grpcio', got 'grpc'"),
        ({"workers": 65}, {}, "", "workers: expected at most 64, got 65"),
        (
            {"workers": 2, "front": "grpcio"},
            {},
            "",
            "workers: expected 1 with front = grpcio, or front = http2",
        ),
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
        ({"workers": 1}, {"STEELYARD_WORKERS": "99"}, "", "environment STEELYARD_WORKERS"),
        ({}, {}, "thread = 1", "unknown key 'thread', did you mean 'threads'?"),
        ({}, {}, "threads = '1'", "threads: expected a whole number, got '1'"),
        ({}, {}, "repository = 3", "repository: expected a path, got 3"),
        (
            {},
            {},
            "grpc_address = 8001",
            "grpc_address: expected text of the form HOST:PORT, or a list of such, got 8001",
        ),
        ({}, {}, "[grpc_address]\nport = 1", "grpc_address: expected text of the form HOST:PORT"),
        ({}, {}, "threads = 1\nthreads = 2", "not TOML"),
        ({}, {}, "grpc_address = [1]", "grpc_address: expected text of the form HOST:PORT, got [1]"),
        ({"grpc_address": "a:1,,b:2"}, {}, "", "expected HOST:PORT"),
        ({"grpc_address": "unix:s"}, {}, "", "grpc_address: expected the absolute path of a socket"),
        ({"grpc_address": f"unix:/{'x' * 107}"}, {}, "", "at most 107 bytes"),
        ({"grpc_address": f"unix:/{'é' * 54}"}, {}, "", "and it has 109"),
        ({**TLS, "grpc_tls_address": "unix:/s"}, {}, "", "grpc_tls_address: expected"),
        ({"grpc_address": ""}, {}, "", "grpc_address: expected an address here or in grpc_tls_address"),
        ({"grpc_tls_address": "a:1"}, {}, "", "tls_certificate: expected, as grpc_tls_address is set"),
        ({**TLS, "tls_key": None}, {}, "", "tls_key: expected, as grpc_tls_address is set, but not given"),
        ({"tls_certificate": "c"}, {}, "", "tls_certificate: expected grpc_tls_address beside it"),
        ({"tls_client_ca": "c"}, {}, "", "tls_client_ca: expected grpc_tls_address beside it"),
        ({**TLS, "tls_key": ""}, {}, "", "tls_key: expected the path of a file"),
        ({"grpc_socket_mode": "777"}, {}, "", "grpc_socket_mode: expected '0600', '0660' or '0666'"),
        ({"max_streams": 0}, {}, "", "max_streams: expected at least 1, got 0"),
        ({"max_frame_bytes": "1 KiB"}, {}, "", "max_frame_bytes: expected at least 16384"),
        ({"stream_window_bytes": "2 GiB"}, {}, "", "stream_window_bytes: expected at most 2147483647"),
        ({"idle_timeout_s": -1}, {}, "", "idle_timeout_s: expected at least 0, got -1"),
        ({}, {}, "idle_timeout_s = 0.5", "idle_timeout_s: expected"),
        (
            {"max_message_bytes": "256 MiB"},
            {},
            "",
            "connection_received_bytes: expected at least max_message_bytes (268435456)",
        ),
        (
            {"connection_received_bytes": "2 GiB"},
            {},
            "",
            "total_received_bytes: expected at least connection_received_bytes",
        ),
        (
            {"connection_send_bytes": "1 GiB"},
            {},
            "",
            "total_send_bytes: expected at least connection_send_bytes",
        ),
        (
            {"stream_window_bytes": "32 MiB"},
            {},
            "",
            "connection_window_bytes: expected at least stream_window",
        ),
        ({"hard_header_bytes": "16 KiB"}, {}, "", "hard_header_bytes: expected at least max_header_bytes"),
    ],
)
def test_what_is_wrong_is_refused_with_its_source_and_key(tmp_path, flags, environ, text, expected):
    file = config(tmp_path, text) if text else None
    with pytest.raises(ConfigError) as caught:
        resolve(flags, environ, file)
    assert expected in str(caught.value)
    if file is not None:
        assert str(file) in str(caught.value)


def test_what_contradicts_itself_in_one_source_may_be_whole_with_another(tmp_path):
    file = config(tmp_path, 'grpc_address = ""\nconnection_window_bytes = 100000\n')
    settings = resolve({**TLS, "stream_window_bytes": 100_000}, {}, file).settings
    assert settings.grpc_address == ()
    assert settings.stream_window_bytes == settings.connection_window_bytes


def test_the_limits_of_the_front_are_the_settings():
    changed = {
        name: field.default + 1
        for name, field in Settings.model_fields.items()
        if type(field.default) is int and name not in NO_LIMITS
    }
    settings = resolve(changed, {}).settings
    reached = [limits(settings), total_limits(settings), patience(settings)]
    assert sum(len(asdict(part)) for part in reached) == len(changed)
    for part in reached:
        for key, value in asdict(part).items():
            assert value == getattr(type(part)(), key) + 1, key
    assert [limits(Settings()), total_limits(Settings()), patience(Settings())] == [
        Limits(),
        TotalLimits(),
        Patience(),
    ]


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
@example(".")
def test_any_text_is_an_address_of_grpc_or_refused(text):
    for written in (text, f"unix:/{text}"):
        try:
            address = parse_grpc_address(written)
        except ValueError:
            continue
        assert parse_grpc_address(str(address)) == address


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
