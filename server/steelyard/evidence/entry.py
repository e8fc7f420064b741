"""What the log holds: one entry for each sealed segment, for each file of sealed notes and for each governance event.

Entries are canonical JSON: UTF-8, keys sorted, no spaces. An event's entry has the digest of its record instead of the
record, which may be longer than an entry, and holds reasons and names that a log which is shown to others need not.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steelyard.errors import EvidenceError
from steelyard.evidence.event import Event

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A sealed segment: the records of one model, in one file."""

    model: str
    file: str
    """The path below the directory of sealed segments."""
    count: int
    first_ns: int
    """When the first decision came, nanoseconds since the epoch."""
    last_ns: int
    root: bytes
    """The RFC 6962 root over the canonical records."""
    sha256: str
    """The digest of the file as it was sealed, in hexadecimal."""

    def pack(self) -> bytes:
        """The entry's bytes."""
        return _packed(
            {
                "kind": "segment",
                "model": self.model,
                "file": self.file,
                "count": self.count,
                "first_ns": self.first_ns,
                "last_ns": self.last_ns,
                "root": self.root.hex(),
                "sha256": self.sha256,
            }
        )


@dataclass(frozen=True, slots=True)
class EventEntry:
    """A governance event."""

    model: str
    sequence: int
    unix_ms: int
    sha256: str
    """The digest of its canonical record, which the next event names as its predecessor's."""

    def pack(self) -> bytes:
        """The entry's bytes."""
        return _packed(
            {
                "kind": "event",
                "model": self.model,
                "sequence": self.sequence,
                "unix_ms": self.unix_ms,
                "sha256": self.sha256,
            }
        )


@dataclass(frozen=True, slots=True)
class NotesEntry:
    """A file of sealed notes: what became known of decisions of any model after they were recorded."""

    file: str
    """The path below the directory of sealed segments."""
    count: int
    sha256: str
    """The digest of the file as it was sealed, in hexadecimal."""

    def pack(self) -> bytes:
        """The entry's bytes."""
        return _packed({"kind": "notes", "file": self.file, "count": self.count, "sha256": self.sha256})


Entry = SegmentEntry | EventEntry | NotesEntry


def entry_of(event: Event) -> EventEntry:
    """The entry of an event."""
    return EventEntry(event.model, event.sequence, event.unix_ms, hashlib.sha256(event.record()).hexdigest())


def read_entry(packed: bytes) -> Entry:
    """The entry in its bytes. Raises EvidenceError where they are none of this format."""
    try:
        fields: dict[str, Any] = json.loads(packed)
        kind = fields.pop("kind")
        if fields.pop("format") != FORMAT or kind not in ("segment", "event", "notes"):
            raise ValueError(f"kind {kind!r}")
        if kind == "segment":
            fields["root"] = bytes.fromhex(fields["root"])
            return SegmentEntry(**fields)
        return NotesEntry(**fields) if kind == "notes" else EventEntry(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvidenceError(f"expected an entry of format {FORMAT}: {error}") from None


def _packed(fields: Mapping[str, Any]) -> bytes:
    whole = {**fields, "format": FORMAT}
    return json.dumps(
        whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
