"""Trailing metadata of answers as header fields, made once where it is the same for every answer of a version."""

from functools import partial

from ngh2.types import NeverIndexedHeader

from steelyard.rpc.metadata import Header
from steelyard.serving.call import DECISION_ID, Metadata

_DECISION_ID = DECISION_ID.encode()

# What versions say of themselves; the few that a server ever serves.
MAX_KEPT = 4096

# A named tuple's own constructor takes twice as long.
_never_indexed = partial(tuple.__new__, NeverIndexedHeader)


class TrailingFields:
    """Turns metadata that the server itself made into fields."""

    def __init__(self) -> None:
        self._known: dict[Metadata, list[Header]] = {}

    def known(self, trailing: Metadata) -> list[Header]:
        """The fields of what is said with many answers."""
        known = self._known.get(trailing)
        if known is None:
            if len(self._known) >= MAX_KEPT:
                self._known.clear()
            known = self._known[trailing] = fields_of(trailing)
        return known

    def fields(self, decision_id: str, trailing: Metadata) -> list[Header]:
        """The fields of a decision id, and of what is said with many others."""
        # Never the same twice: in the peer's header table it would only push out what is.
        return [_never_indexed((_DECISION_ID, decision_id.encode())), *self.known(trailing)]


def fields_of(metadata: Metadata) -> list[Header]:
    """`metadata` as fields, in order."""
    return [(name.encode(), value.encode()) for name, value in metadata]
