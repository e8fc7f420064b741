"""A candidate as keys of model.toml, and a model.toml with keys changed and everything else as its owner wrote it."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steelyard.errors import ManifestError, RepositoryError
from steelyard.tune.candidate import SPINNING, Candidate

Changes = Mapping[tuple[str, ...], int | str]
"""Values by the path of their key."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"\s*\[")


def changes(candidate: Candidate) -> dict[tuple[str, ...], int | str]:
    """What model.toml says of a candidate."""
    options = ("serving", "session_options")
    said: dict[tuple[str, ...], int | str] = {
        ("serving", "instances"): candidate.instances,
        ("serving", "threads"): candidate.threads,
        ("serving", "max_batch"): candidate.max_batch,
        ("serving", "max_queue_delay_us"): candidate.max_queue_delay_us,
        (*options, "graph_optimization"): candidate.optimization,
    }
    if candidate.threads > 1:
        said[*options, "extra", SPINNING] = "1" if candidate.spinning else "0"
    return said


def differing(candidate: Candidate, base: Candidate) -> dict[tuple[str, ...], int | str]:
    """What model.toml has to say where it says `base` so far: instances and threads in any case, else what differs."""
    before = changes(base)
    always = {("serving", "instances"), ("serving", "threads")}
    return {
        key: value
        for key, value in changes(candidate).items()
        if key in always
        or (value != before.get(key) and not (key[-1] == SPINNING and value == "0" and key not in before))
    }


def edited(text: str, changed: Changes) -> str:
    """A TOML document with values changed or added; comments, order and everything else stay.

    Raises ManifestError where the document is written in a way that this does not know.
    """
    wanted = _with(tomllib.loads(text), changed)
    lines = text.splitlines()
    for path, value in changed.items():
        _set(lines, path[:-1], path[-1], _toml(value))
    made = "\n".join(lines) + "\n"
    try:
        came = tomllib.loads(made)
    except tomllib.TOMLDecodeError:
        came = None
    if came != wanted:
        keys = "; ".join(f"{_dotted(path)} = {_toml(value)}" for path, value in changed.items())
        raise ManifestError(f"model.toml: not written in a way that can be edited, set by hand: {keys}")
    return made


def editable(text: str) -> bool:
    """Whether any candidate can be written into this document."""
    every = Candidate(3, 5, 7, 11, True, "extended")
    try:
        edited(text, changes(every))
    except ManifestError:
        return False
    return True


def write_over(path: Path, before: str, text: str) -> None:
    """Replaces the file at `path`, whose text is `before` ("": none is there), in one step.

    Raises RepositoryError where it says something else by now, or cannot be written.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        now = target.read_text() if target.exists() else ""
        if now != before:
            raise RepositoryError(f"{path}: was changed meanwhile, so it is left as it is")
        temporary.write_text(text)
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        temporary.replace(target)
    except OSError as error:
        raise RepositoryError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _with(document: dict[str, Any], changed: Changes) -> dict[str, Any]:
    for path, value in changed.items():
        table = document
        for name in path[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise ManifestError(f"model.toml: expected a table, got {name} = {table!r}")
        table[path[-1]] = value
    return document


def _set(lines: list[str], table: tuple[str, ...], key: str, value: str) -> None:
    """Changes the line of `key` in the part of `table`, or adds one behind the last of that part."""
    header = re.compile(r"\s*\[\s*" + r"\s*\.\s*".join(map(_spelling, table)) + r"\s*\]\s*(#.*)?")
    line = re.compile(rf"(\s*{_spelling(key)}\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s#\"'\[{{]+)(\s*(#.*)?)")
    start = next((at for at, text in enumerate(lines) if header.fullmatch(text)), None)
    if start is None:
        if lines and lines[-1].strip():
            lines.append("")
        lines += [f"[{_dotted(table)}]", f"{_name(key)} = {value}"]
        return
    last = start
    for at in range(start + 1, len(lines)):
        if _HEADER.match(lines[at]):
            break
        if (match := line.fullmatch(lines[at])) is not None:
            lines[at] = f"{match[1]}{value}{match[3]}"
            return
        if lines[at].strip() and not lines[at].lstrip().startswith("#"):
            last = at
    lines.insert(last + 1, f"{_name(key)} = {value}")


def _spelling(name: str) -> str:
    """A key as people may write it: bare where it can be, or in quotes of either kind."""
    escaped = re.escape(name)
    quoted = rf"\"{escaped}\"|'{escaped}'"
    return f"(?:{escaped}|{quoted})" if _BARE.fullmatch(name) else f"(?:{quoted})"


def _name(key: str) -> str:
    return key if _BARE.fullmatch(key) else f'"{key}"'


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(map(_name, path))


def _toml(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
