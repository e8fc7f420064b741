"""The server's settings: what can be set, where it may come from, and where each value in force came from."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from steelyard.errors import ConfigError
from steelyard.toml import Bytes, describe_problems, did_you_mean, read_toml

ENVIRONMENT_PREFIX = "STEELYARD_"
# Variables with the prefix that are no settings: --config itself, and the switches of the build.
OTHER_VARIABLES = frozenset({"STEELYARD_CONFIG", "STEELYARD_SANITIZE", "STEELYARD_COVERAGE"})

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    """A name or an IP address, without brackets."""
    port: int
    """0 lets the system choose."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address in `text`: "127.0.0.1:8001", "localhost:8001" or "[::1]:8001". Raises ValueError."""
    host, colon, port_text = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port_text, re.ASCII) or int(port_text) > 65_535:
        raise ValueError("expected HOST:PORT with a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port_text))
        except ValueError:
            raise ValueError("expected an IPv6 address between the brackets") from None
    if not host:
        raise ValueError("expected a host before the port, such as 127.0.0.1, or 0.0.0.0 for every interface")
    if ":" in host:
        raise ValueError("expected an IPv6 address to stand in brackets, as in [::1]:8001")
    if _HOST.fullmatch(host) is None:
        raise ValueError("expected a host name or an IP address before the port")
    return Address(host, int(port_text))


def _address(value: object) -> object:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError("expected text of the form HOST:PORT")
    return parse_address(value)


ListenAddress = Annotated[Address, BeforeValidator(_address), PlainSerializer(str)]
AnyPath = Annotated[Path, Field(strict=False)]


# What a variable's text is turned into, and how that is called.
_SPELLED: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false"}


class Settings(BaseModel):
    """What is in force while a server runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    repository: AnyPath = Field(default=Path("."), description="The model repository.")
    grpc_address: ListenAddress = Field(
        default=Address("127.0.0.1", 8001), description="Where gRPC is served; port 0: any free one."
    )
    http_address: ListenAddress = Field(
        default=Address("127.0.0.1", 8000),
        description="Where HTTP is served (metrics, health); port 0: any free one.",
    )
    front: Literal["http2", "grpcio"] = Field(
        default="grpcio", description="Which gRPC implementation answers."
    )
    data: AnyPath = Field(
        default=Path(".steelyard"),
        description="The directory of what the server keeps; not given: .steelyard in the repository.",
    )
    workers: int = Field(default=1, ge=1, description="Worker processes; only 1 as yet.")
    profile: Literal["dev", "production"] = Field(
        default="dev", description="dev serves models that nobody owns, and says so; production refuses them."
    )
    # gRPC's own default of 4 MiB refuses a batch of ordinary images; a frame's length is announced in four
    # bytes.
    max_message_bytes: Bytes = Field(
        default=64 << 20,
        ge=1024,
        le=(1 << 31) - 1,
        description="Largest message, in and out; a larger one is refused.",
    )
    # Sparing of the network, not of the time: compressing costs some ten times what answering does.
    compress_answers: Literal["none", "gzip"] = Field(
        default="none", description="How answers are compressed for clients that understand it."
    )
    # Beside every model's own bound: a thousand models at 256 MiB each would be more than any machine has.
    max_queue_bytes: Bytes = Field(
        default=1 << 30,
        ge=1024,
        le=1 << 50,
        description="Bytes of requests that may wait, over all models together.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Threads that run models, over all sessions; 0: as many as the cgroup gives CPUs.",
    )
    load_threads: int = Field(
        default=0, ge=0, le=256, description="Threads that load models; 0: as many as `threads`."
    )
    poll_interval_s: float = Field(
        default=2.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds between two looks at the repository; 0: do not watch.",
    )
    drain_timeout_s: float = Field(
        default=30.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds that accepted requests get at a stop.",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto is text on a terminal and json elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe line to log."
    )
    log_requests: bool = Field(default=False, description="Whether every request gets a line in the log.")
    inline_threshold_us: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="A batch predicted to take less runs on the event loop itself, in microseconds; 0: none.",
    )
    reflection: bool = Field(default=True, description="Whether gRPC reflection is served.")

    @field_validator("workers")
    @classmethod
    def _one_worker(cls, value: int) -> int:
        if value != 1:
            raise ValueError("expected 1, as more than one worker is not there yet")
        return value

    @field_validator("repository", "data", mode="before")
    @classmethod
    def _usable_path(cls, value: object) -> object:
        if value == "" or "\0" in str(value):
            raise ValueError("expected the path of a directory")
        return value


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, and for each where its value came from."""

    settings: Settings
    origins: Mapping[str, str]
    """By setting: "flag", "environment STEELYARD_X", "file PATH" or "default"."""


def resolve(flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None = None) -> Resolved:
    """The settings in force, from flag, environment, file and default, in that order of weight.

    A flag that is None was not given. Where `file` is None, the variable STEELYARD_CONFIG may name one.
    Relative paths in the file are relative to its directory. Raises ConfigError for anything unknown or
    wrong, also where a weightier source overrules it.
    """
    if file is None and environ.get("STEELYARD_CONFIG"):
        file = Path(environ["STEELYARD_CONFIG"])
    layers = [(f"file {file}", _from_file(file))] if file is not None else []
    for key, value in _from_environment(environ).items():
        layers.append((f"environment {_variable(key)}", {key: value}))
    layers.append(("flag", {key: value for key, value in flags.items() if value is not None}))
    values: dict[str, object] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for origin, layer in layers:
        validated = _validate(layer, origin)
        values.update({key: getattr(validated, key) for key in layer})
        origins.update(dict.fromkeys(layer, origin))
    settings = _validate(values, "settings")
    if "data" not in values:
        settings = settings.model_copy(update={"data": settings.repository / ".steelyard"})
    return Resolved(settings, origins)


def _validate(values: Mapping[str, Any], origin: str) -> Settings:
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as exc:
        raise ConfigError(f"{origin}: {'; '.join(describe_problems(exc, Settings))}") from exc


def _from_file(file: Path) -> dict[str, object]:
    try:
        values = read_toml(file, ConfigError)
    except FileNotFoundError:
        raise ConfigError(f"{file}: expected a configuration file, but nothing is there") from None
    for key in ("repository", "data"):
        if isinstance(value := values.get(key), str) and value:
            values[key] = file.parent / value
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in OTHER_VARIABLES:
            continue
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key not in Settings.model_fields or variable != _variable(key):
            nearest = did_you_mean(variable, map(_variable, Settings.model_fields))
            raise ConfigError(f"environment: unknown variable {variable[:128]}{nearest}")
        values[key] = _from_text(key, text, variable)
    return values


def _from_text(key: str, text: str, variable: str) -> object:
    """The value that `text` spells, where the setting is a number or a switch; else the text."""
    annotation = Settings.model_fields[key].annotation
    if annotation is None or annotation not in _SPELLED or key.endswith("_bytes"):
        return text
    try:
        return TypeAdapter(annotation).validate_python(text.strip())
    except ValidationError as exc:
        raise ConfigError(
            f"environment {variable}: expected {_SPELLED[annotation]}, got {text[:80]!r}"
        ) from exc


def _variable(key: str) -> str:
    return ENVIRONMENT_PREFIX + key.upper()
