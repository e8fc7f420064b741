"""The server's settings as options of commands, derived from `config.Settings`, where each is described."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from steelyard.config import Resolved, Settings, resolve

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(*names: str) -> Callable[[F], F]:
    """Options for the named settings, and --config. The command gets them as keyword arguments.

    Values are checked by `config.resolve`, which takes them from wherever they come.
    """

    def decorate(command: F) -> F:
        for name in reversed(names):
            command = _option(name, Settings.model_fields[name])(command)
        return click.option(
            "--config",
            "config_file",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="TOML file of settings; a flag and the environment (STEELYARD_*) have more weight.",
        )(command)

    return decorate


def all_settings(command: F) -> F:
    """The argument REPOSITORY, an option for every other setting, and --config."""
    names = [name for name in Settings.model_fields if name != "repository"]
    command = settings_options(*names)(command)
    return click.argument(
        "repository", required=False, type=click.Path(path_type=Path), metavar="[REPOSITORY]"
    )(command)


def resolved(config_file: Path | None, flags: Mapping[str, object]) -> Resolved:
    """The settings in force, with `flags` as the command got them. Raises ConfigError."""
    return resolve(flags, os.environ, config_file)


def spelled(value: object) -> str:
    """A setting's value as people write it."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _option(name: str, field: FieldInfo) -> Callable[[F], F]:
    flag = f"--{name.replace('_', '-')}"
    annotation = field.annotation
    default = "" if name == "data" else f"  [default: {_default(name, field.default)}]"
    text = f"{field.description}{default}"
    if annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    if get_origin(annotation) is Literal:
        choices = [str(choice) for choice in get_args(annotation)]
        return click.option(flag, name, metavar="|".join(choices), help=text)
    if name.endswith("_bytes"):
        return click.option(flag, name, metavar="BYTES", help=text)
    if name.endswith("_url"):
        return click.option(flag, name, metavar="URL", help=text)
    if annotation in (int, float):
        return click.option(flag, name, type=annotation, metavar="N", help=text)
    if isinstance(field.default, tuple):
        return click.option(
            flag, name, metavar="ADDRESS", multiple=True, callback=_joined, help=f"{text} Repeatable."
        )
    if isinstance(field.default, Path) or field.default is None:
        kind = "FILE" if field.default is None else "DIR"
        return click.option(flag, name, metavar=kind, type=click.Path(path_type=Path), help=text)
    return click.option(flag, name, metavar="HOST:PORT", help=text)


def _joined(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> str | None:
    """The values of a flag that may be repeated, as one; None where it was not given."""
    return ",".join(given) if given else None


def _default(name: str, value: object) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        unit, shift = next(
            one for one in (("GiB", 30), ("MiB", 20), ("KiB", 10)) if value % (1 << one[1]) == 0
        )
        return f"{value >> shift} {unit}"
    return spelled(value)
