"""A TOML document from outside: read within a bound, and refused in words that name the key."""

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

# What people write by hand is a few kilobytes. A mebibyte leaves room for a thousand labels, and stops a
# model file that lies under a manifest's name from being read into memory and parsed for minutes.
MAX_TOML_BYTES = 1 << 20
# A message is a line or two, also when every key of a long document is wrong.
MAX_PROBLEMS_SHOWN = 8

_BYTES = re.compile(r"([0-9]{1,15})\s*(B|KiB|MiB|GiB|TiB)?")
_UNITS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


# pydantic's kinds of errors in the words of someone who writes TOML.
_EXPECTED = {
    "bool_type": "true or false",
    "date_type": "a date such as 2027-03-31",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than_equal": "at least {ge}",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "model_attributes_type": "a table",
    "model_type": "a table",
    "path_type": "a path",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "too_long": "at most {max_length} entries",
    "too_short": "a list that is not empty",
    "tuple_type": "a list",
}


def _parse_bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _BYTES.fullmatch(value.strip())
    if match is None:
        raise ValueError("expected a number of bytes such as 1048576, '64 MiB' or '1 GiB'")
    return int(match[1]) * _UNITS[match[2]]


Bytes = Annotated[int, BeforeValidator(_parse_bytes)]
"""A number of bytes, written as a whole number or as text with B, KiB, MiB, GiB or TiB."""


def read_toml(path: Path, error: type[Exception]) -> dict[str, object]:
    """The document at `path`.

    Raises FileNotFoundError if nothing is there, and `error` for everything else: a directory, a link that
    leads nowhere, more than MAX_TOML_BYTES, bytes that are not UTF-8, text that is not TOML (duplicate keys
    included).
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_TOML_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise error(f"{path}: is a link that leads nowhere") from None
        raise
    except OSError as exc:
        raise error(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    if len(raw) > MAX_TOML_BYTES:
        raise error(f"{path}: expected at most {MAX_TOML_BYTES} bytes of TOML, got more")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise error(f"{path}: expected UTF-8, got byte 0x{raw[exc.start]:02x} at offset {exc.start}") from exc
    except ValueError as exc:  # TOMLDecodeError, and what int() says of a number of thousands of digits
        raise error(f"{path}: not TOML: {exc}") from exc
    except RecursionError:
        raise error(f"{path}: not TOML that this server reads: nested too deeply") from None


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """ ", did you mean 'x'?" for the known key nearest to `key`, or the list of known ones."""
    known = sorted(known)
    nearest = difflib.get_close_matches(key[:128], known, n=1, cutoff=0.5)
    if nearest:
        return f", did you mean '{nearest[0]}'?"
    return f", known are: {', '.join(known)}" if known else ", none is known here"


def describe_problems(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """What `model` found wrong, one line a problem: "[table] key: what was expected, got what came"."""
    details = error.errors(include_url=False)
    lines = list(dict.fromkeys(_line(detail, model) for detail in details[:MAX_PROBLEMS_SHOWN]))
    if len(details) > MAX_PROBLEMS_SHOWN:
        lines.append(f"and {len(details) - MAX_PROBLEMS_SHOWN} more")
    return lines


def _line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    tables, rest = _split(detail["loc"], model)
    where = f"[{tables}] " if tables else ""
    if detail["type"] == "extra_forbidden":
        key = str(rest[-1])
        known = _model_at(model, detail["loc"][:-1]).model_fields
        return f"{where}unknown key {_shown(key)}{did_you_mean(key, known)}"
    key = ".".join(str(part) for part in rest)
    prefix = where + (f"{key}: " if key else "")
    if detail["type"] == "missing":
        return f"{prefix}expected, but not given"
    if detail["type"] == "union_tag_not_found":
        return f"{prefix}{_unquoted(detail, 'discriminator')}: expected, but not given"
    came = detail["input"]
    message = _expectation(detail)
    return f"{prefix}{message}" if isinstance(came, Mapping) else f"{prefix}{message}, got {_shown(came)}"


def _expectation(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    if isinstance(context.get("error"), ValueError):
        return str(context["error"])
    if (expected := _EXPECTED.get(detail["type"])) is not None:
        return "expected " + expected.format_map(context)
    if detail["type"] == "union_tag_invalid":
        tag, known = context["tag"], context["expected_tags"].replace("'", "").split(", ")
        return f"unknown {_unquoted(detail, 'discriminator')} {_shown(tag)}{did_you_mean(tag, known)}"
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _unquoted(detail: ErrorDetails, key: str) -> str:
    return str(detail["ctx"][key]).strip("'")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except ValueError:  # a number whose decimal digits Python refuses to write
        text = "a number that is far too large"
    return text if len(text) <= 80 else text[:77] + "..."


def _split(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, tuple[int | str, ...]]:
    """The path of tables that leads to the place, as TOML writes it, and the keys inside the last one."""
    names: list[str] = []
    taken = 0
    current = [model]
    for position, part in enumerate(loc):
        if isinstance(part, int):
            if names and taken == position:
                names[-1] += f" {part + 1}"
                taken = position + 1
            continue
        if tagged := _tagged(current, part):
            names[-1] += f" '{part}'"
        else:
            tagged = _inner(current[0], part)
            if not tagged:
                break
            names.append(part)
        taken = position + 1
        current = tagged
    return ".".join(names), loc[taken:]


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    current = [model]
    for part in loc:
        if isinstance(part, str):
            current = _tagged(current, part) or _inner(current[0], part) or current
    return current[0]


def _tagged(models: list[type[BaseModel]], tag: str) -> list[type[BaseModel]]:
    """Of several kinds of table the one with a key that can only be `tag`, as pydantic's place has it; or none."""
    if len(models) < 2:
        return []
    return [
        model
        for model in models
        if any(_only(field.annotation) == tag for field in model.model_fields.values())
    ]


def _only(annotation: object) -> object:
    """The one value that a Literal allows; None for everything else."""
    values = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    return values[0] if len(values) == 1 else None


def _inner(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    """The kinds of the table, or of each table of the array, that `key` holds; none for a plain value."""
    field = model.model_fields.get(key)
    pending: list[object] = [field.annotation] if field is not None else []
    found = []
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        elif typing.get_origin(annotation) in (tuple, typing.Union, types.UnionType, Annotated):
            pending.extend(typing.get_args(annotation))
    return found
