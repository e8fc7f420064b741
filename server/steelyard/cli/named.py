"""The decisions that a name stands for: a decision's id, or what its caller called its request."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors import ModelNotFound

if TYPE_CHECKING:
    from steelyard.evidence.lookup import Found


def decisions_named(directory: Path, name: str) -> "list[Found]":
    """At least one, the last one first. Raises ModelNotFound where none is recorded."""
    from steelyard.evidence.lookup import Lookup

    lookup = Lookup(directory)
    try:
        one = lookup.decision(uuid.UUID(name))
    except ValueError:
        one = None
    if one is not None:
        return [one]
    found = lookup.requests(name)
    if not found:
        raise ModelNotFound(f"no decision and no request {name!r} is recorded in {directory}")
    return found
