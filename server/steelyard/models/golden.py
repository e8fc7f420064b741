"""Golden examples: requests with known answers, kept beside a version and no part of its digest.

An example is a directory in the version's `golden/`: `request.pb`, a serialized ModelInferRequest as it was sent;
`expected.pb`, the serialized ModelInferResponse that it has to get; where wanted, `golden.toml` with the tolerance.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from pydantic import Field

from steelyard.errors import ManifestError, RepositoryError
from steelyard.models.digest import GOLDEN_DIRECTORY
from steelyard.models.table import Table, read_table

REQUEST_FILE = "request.pb"
EXPECTED_FILE = "expected.pb"
OPTIONS_FILE = "golden.toml"

# Each is run at every load, one after the other.
MAX_EXAMPLES = 1000
# A version that fails one example often fails all of them.
MAX_SHOWN = 5
MAX_FILE_BYTES = 64 << 20


class GoldenOptions(Table):
    """golden.toml: two numbers are equal where |a - b| <= absolute + relative * |expected|."""

    absolute: float = Field(default=1e-4, ge=0, description="The part that is the same for all values.")
    relative: float = Field(default=1e-3, ge=0, description="The part that grows with the value.")
    note: str = Field(default="", max_length=4096, description="What the example is about.")


@dataclass(frozen=True, slots=True)
class GoldenExample:
    """One example, read."""

    name: str
    request: bytes
    expected: bytes
    options: GoldenOptions


def golden_paths(version: Path) -> list[Path]:
    """The examples of the version in the directory `version`, by name; none where there is no `golden/`.

    What is hidden is none, so that an example can be written under a hidden name and be renamed once it is whole.
    Raises RepositoryError for what cannot be read or is too much.
    """
    directory = version / GOLDEN_DIRECTORY
    try:
        if not directory.is_dir():
            return []
        found = sorted(path for path in directory.iterdir() if path.is_dir() and path.name[0] != ".")
    except OSError as error:
        raise RepositoryError(f"{directory}: cannot be read: {error.strerror}") from error
    if len(found) > MAX_EXAMPLES:
        raise RepositoryError(f"{directory}: expected at most {MAX_EXAMPLES} examples, got {len(found)}")
    return found


def read_example(path: Path) -> GoldenExample:
    """The example in the directory `path`.

    Raises ManifestError for options that are wrong and for a file that is too large, RepositoryError for one that
    cannot be read.
    """
    options = read_table(path / OPTIONS_FILE, GoldenOptions)
    return GoldenExample(path.name, _content(path / REQUEST_FILE), _content(path / EXPECTED_FILE), options)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise RepositoryError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ManifestError(f"{path}: expected at most {MAX_FILE_BYTES} bytes")
    return content


def write_golden(
    version: Path, name: str, request: bytes, expected: bytes, options: GoldenOptions | None = None
) -> Path:
    """Adds an example called `name`; returns its directory. Raises RepositoryError where it cannot, or is there.

    A server that reads meanwhile sees the whole of it or nothing. `options` that are the defaults need no file.
    """
    said = {} if options is None else options.model_dump(exclude_defaults=True)
    directory = version / GOLDEN_DIRECTORY / name
    hidden = directory.with_name(f".{name}.{os.getpid()}")
    try:
        if directory.exists():
            raise RepositoryError(f"{directory}: is there already")
        directory.parent.mkdir(exist_ok=True)
        hidden.mkdir()
        _write(hidden / EXPECTED_FILE, expected)
        _write(hidden / REQUEST_FILE, request)
        if said:
            _write(hidden / OPTIONS_FILE, tomli_w.dumps(said).encode())
        hidden.rename(directory)
    except OSError as error:
        shutil.rmtree(hidden, ignore_errors=True)
        raise RepositoryError(f"{directory}: cannot be written: {error.strerror}") from error
    return directory


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def show_failing(failing: Mapping[str, str]) -> str:
    """Examples that fail and what is wrong with each, as one text; of many, the first."""
    shown = "; ".join(f"{name!r}: {problem}" for name, problem in list(failing.items())[:MAX_SHOWN])
    return f"{shown}; and {len(failing) - MAX_SHOWN} more" if len(failing) > MAX_SHOWN else shown
