"""A file that retention removed between the moment in which it was listed and the one in which it was to be read."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from steelyard.errors import EvidenceError

T = TypeVar("T")

# What belongs together goes within moments, model by model, and then nothing goes for a minute.
_TRIES = 3


class Gone(EvidenceError):
    """A file was there, and is no longer."""


def unreadable(path: Path, error: Exception) -> EvidenceError:
    """What is to be raised where a file that was listed cannot be read: `Gone`, where it is no longer there."""
    kind = Gone if isinstance(error, FileNotFoundError) else EvidenceError
    return kind(f"{path}: cannot be read: {error}")


def looked_again(look: Callable[[], T]) -> T:
    """What `look` gives; where a file that it has listed is gone, it begins anew. Raises what `look` does."""
    for _ in range(_TRIES - 1):
        try:
            return look()
        except Gone:
            continue
    return look()
