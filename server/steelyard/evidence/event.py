"""One thing that happened to a model: who did it, why, and to which content."""

import datetime
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from steelyard.errors import EvidenceError

FORMAT = 1

# What a person types as a reason, with room for a ticket's text; and a name with the machine that it was typed on.
MAX_REASON_CHARS = 1000
MAX_ACTOR_CHARS = 256

# A gate's whole path is some kilobytes. A longer record is a mistake, and a longer line in a log is another file.
MAX_RECORD_BYTES = 1 << 18

# What the first record has in the place of its predecessor's digest.
NOTHING_BEFORE = "0" * 64

Details = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that is to be recorded."""

    kind: str
    """What happened, such as "label.set"."""
    model: str
    actor: str
    reason: str
    digest: str = ""
    """The content that it is about, "sha256:..."; empty where it is about none."""
    details: Details = field(default_factory=dict)
    """JSON values by name, as the kind has them."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was recorded. `previous` is the SHA-256 of the record before it, in hexadecimal."""

    sequence: int
    """From 1, without gaps."""
    unix_ms: int
    kind: str
    model: str
    actor: str
    reason: str
    digest: str
    details: Details
    previous: str

    @property
    def time(self) -> str:
        """When, as RFC 3339 in UTC with milliseconds."""
        moment = datetime.datetime.fromtimestamp(self.unix_ms / 1000, datetime.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def record(self) -> bytes:
        """The canonical record: JSON in UTF-8, keys sorted, no spaces."""
        fields = {
            "actor": self.actor,
            "details": self.details,
            "digest": self.digest,
            "format": FORMAT,
            "kind": self.kind,
            "model": self.model,
            "previous": self.previous,
            "reason": self.reason,
            "sequence": self.sequence,
            "unix_ms": self.unix_ms,
        }
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()


def digest_of(record: bytes) -> str:
    """What the next record names as its `previous`."""
    return hashlib.sha256(record).hexdigest()


def frame(record: bytes) -> bytes:
    """A record as a line of the log: its CRC-32 in eight hexadecimal digits, a space, the record, a newline.

    The record itself holds no newline, as JSON escapes them.
    """
    return b"%08x %b\n" % (zlib.crc32(record), record)


def read_frame(line: bytes) -> bytes:
    """The record in a line. Raises EvidenceError where the line is not one that `frame` makes."""
    checksum, space, record = line[:8], line[8:9], line[9:-1]
    if space != b" " or line[-1:] != b"\n" or b"%08x" % zlib.crc32(record) != checksum:
        raise EvidenceError("expected a checksum and the record that it belongs to")
    return record


def read_record(record: bytes) -> Event:
    """The event in a canonical record. Raises EvidenceError where it is none of this format."""
    try:
        fields = json.loads(record)
        if fields.pop("format") != FORMAT:
            raise EvidenceError(f"expected a record of format {FORMAT}")
        event = Event(**fields)
        if event.record() != record:
            raise EvidenceError("expected the canonical form of the record")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvidenceError(f"expected an event's record: {error}") from None
    return event
