"""Files that commands write: new ones, and none in the place of another."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from steelyard.errors import ConfigError


def check_new(paths: Iterable[Path]) -> None:
    """Raises ConfigError where one of them is there already, before long work is done for nothing."""
    for path in paths:
        if os.path.lexists(path):
            raise ConfigError(f"{path}: cannot be written: File exists")


def write_new(files: Mapping[Path, str]) -> None:
    """Writes texts as UTF-8. Raises ConfigError where one is there or cannot be written; then there is none of them."""
    check_new(files)
    written: list[Path] = []
    try:
        for path, content in files.items():
            with path.open("x", encoding="utf-8", newline="\n") as stream:
                written.append(path)
                stream.write(content)
    except OSError as exc:
        for path in written:
            path.unlink(missing_ok=True)
        raise ConfigError(f"{exc.filename}: cannot be written: {exc.strerror}") from exc
