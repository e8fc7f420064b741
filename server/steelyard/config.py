"""The settings in force: where they may come from, and where each came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from steelyard.errors import ConfigError
from steelyard.settings import Settings as Settings
from steelyard.settings import contradiction
from steelyard.toml import describe_problems, did_you_mean, read_toml

ENVIRONMENT_PREFIX = "STEELYARD_"
# Variables with the prefix that are no settings: --config itself, and the switches of the build.
OTHER_VARIABLES = frozenset({"STEELYARD_CONFIG", "STEELYARD_SANITIZE", "STEELYARD_COVERAGE"})

# What a variable's text is turned into, and how that is called.
_SPELLED: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false"}

# Relative ones in the file are relative to its directory.
_PATHS = (
    "repository",
    "data",
    "tls_certificate",
    "tls_key",
    "tls_client_ca",
    "retirement_keys",
    "model_signers",
    "tlog_key",
    "witness_key",
)


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
    wrong, also where a weightier source overrules it, and for what contradicts each other.
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
    problem = contradiction(settings)
    if problem is not None:
        raise ConfigError(problem)
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
    for key in _PATHS:
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
