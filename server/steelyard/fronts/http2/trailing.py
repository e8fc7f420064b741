"""Trailing metadata of answers as header fields, made once where it is the same for every answer of a version."""

from ngh2.types import NeverIndexedHeader

from steelyard.rpc.metadata import Header
from steelyard.serving.call import DECISION_ID, Metadata

_DECISION_ID = DECISION_ID.encode()

# What versions say of themselves; the few that a server ever serves.
MAX_KEPT = 4096


class TrailingFields:
    """Turns metadata that the server itself made into fields."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Header] = {}

    def fields(self, trailing: Metadata) -> list[Header]:
        """The fields of `trailing`, in order."""
        known = self._known
        found: list[Header] = []
        for pair in trailing:
            if pair[0] == DECISION_ID:
                # Never the same twice: in the peer's header table it would only push out what is.
                found.append(NeverIndexedHeader(_DECISION_ID, pair[1].encode()))
                continue
            field = known.get(pair)
            if field is None:
                if len(known) >= MAX_KEPT:
                    known.clear()
                field = known[pair] = (pair[0].encode(), pair[1].encode())
            found.append(field)
        return found
