"""The decisions that a name stands for: a decision's id, or what its caller called its request."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors import Conflict, ModelNotFound

if TYPE_CHECKING:
    from steelyard.evidence.lookup import Found

# Of decisions that one name stands for, so many are told.
_TOLD = 5


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


def the_only_one(name: str, ids: Sequence[str]) -> str:
    """The id of the decision that a name stands for, of `ids`, at least one. Raises Conflict where they are more."""
    if len(ids) > 1:
        told = ", ".join(ids[:_TOLD])
        raise Conflict(f"request {name!r} stands for {len(ids)} decisions, name one by its id: {told}")
    return ids[0]
