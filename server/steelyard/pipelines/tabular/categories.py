"""Categories of a step: read from where the manifest has them, and laid out as the keys that a lookup takes."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from steelyard.errors import ManifestError
from steelyard.pipelines.tabular.columns import Kind
from steelyard.pipelines.tabular.operations import State
from steelyard.pipelines.tabular.steps import Category

# A million categories of a hundred bytes. It bounds what a wrong path (a model file) costs to read.
MAX_FILE_BYTES = 128 << 20

Profile = Mapping[str, Mapping[str, Any]]


def find_categories(
    given: tuple[Category, ...] | str | None, column: str, profile: Profile, directory: Path | None
) -> tuple[Category, ...]:
    """The categories that a step means. Raises ManifestError."""
    if isinstance(given, tuple):
        return given
    if given is not None:
        return read_categories(given, directory)
    known = profile.get(column, {}).get("categories")
    if known is None:
        raise ManifestError("categories: not given, and the profile has none of the column")
    return tuple(known)


def read_categories(path: str, directory: Path | None) -> tuple[Category, ...]:
    """The categories in a file of the version's directory. Raises ManifestError."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.name or directory is None:
        raise ManifestError(
            f"categories: expected a list, or a file in the version's directory, got {path!r:.80}"
        )
    file = directory / pure
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise ManifestError(f"categories: {path}: expected at most {MAX_FILE_BYTES} bytes, got more")
        text = raw.decode("utf-8")
        if pure.suffix != ".json":
            return tuple(text.removesuffix("\n").split("\n")) if text else ()
        values = json.loads(text)
    except OSError as exc:
        raise ManifestError(f"categories: {path}: cannot be read: {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise ManifestError(f"categories: {path}: expected UTF-8 text, or JSON: {exc}") from exc
    if not isinstance(values, list) or not all(isinstance(value, str | int | float) for value in values):
        raise ManifestError(f"categories: {path}: expected one list of texts or numbers")
    return tuple(values)


def key_of(category: Category, state: State, kind: Kind) -> bytes:
    """The bytes by which a lookup finds a category. Raises ManifestError where a column cannot hold it."""
    if state is State.TEXT:
        if isinstance(category, str):
            return category.encode("utf-8", "surrogatepass")
        raise ManifestError(f"categories: expected texts for a column of kind text, got {category!r:.80}")
    if isinstance(category, str) or isinstance(category, bool) != (
        state is State.INTEGER and kind is Kind.BOOLEAN
    ):
        what = "true and false" if kind is Kind.BOOLEAN and state is State.INTEGER else "numbers"
        raise ManifestError(
            f"categories: expected {what} for a column of kind {kind.name.lower()}, got {category!r:.80}"
        )
    if state is State.NUMBER:
        if category != category:
            raise ManifestError("categories: expected numbers, got NaN")
        return struct.pack("<d", float(category) + 0.0)
    if category != int(category) or not -(1 << 63) <= category < 1 << 63:
        raise ManifestError(f"categories: expected whole numbers of 64 bits, got {category!r:.80}")
    return struct.pack("<q", int(category))
