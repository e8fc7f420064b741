"""A file of payloads from begin to end, whatever is damaged in it: for who must miss nothing, as erasing must."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.payload import HEAD_BYTES, MAGIC, Head, read_head, read_payload
from steelyard.evidence.payload_files import Entry

# Where the decision's id stands in a head: see `payload.HEAD`.
_ID = slice(HEAD_BYTES - 20, HEAD_BYTES - 4)


@dataclass(frozen=True, slots=True)
class Wreck:
    """What lies between two whole entries, or behind the last one: entries whose heads are damaged."""

    path: Path
    offset: int
    content: bytes

    def holds(self, texts: Sequence[bytes]) -> bool:
        """Whether any of them stands in it."""
        return any(text in self.content for text in texts)

    @property
    def decision_id(self) -> str:
        """Of its first entry, if that is what is not damaged."""
        return str(uuid.UUID(bytes=self.content[_ID]))

    def erase(self) -> None:
        """Makes one erased entry of it, and returns when that is on disk. Raises EvidenceError."""
        head = Head(self.decision_id, False, 0, len(self.content) - HEAD_BYTES, 0, 0)
        Entry(self.path, self.offset, head).erase()


def walk(path: Path) -> Iterator[Entry | Wreck]:
    """All that stands in a file; the last entry also where it is not whole. Raises EvidenceError, FileNotFoundError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
    at = 0
    while len(content) - at >= HEAD_BYTES:
        try:
            head = read_head(content[at : at + HEAD_BYTES])
        except EvidenceError:
            # A wreck has room for a head, which makes an entry of it again.
            after = _next(content, at + HEAD_BYTES)
            # Noughts are what a machine that lost its power had not written yet.
            if any(content[at:after]):
                yield Wreck(path, at, content[at:after])
            at = after
        else:
            yield Entry(path, at, head)
            at += HEAD_BYTES + head.content_bytes


def _next(content: bytes, at: int) -> int:
    """Where the next whole entry begins; the end where there is none."""
    while (at := content.find(MAGIC, at)) >= 0:
        with suppress(EvidenceError):
            head = read_head(content[at : at + HEAD_BYTES])
            behind = content[at + HEAD_BYTES : at + HEAD_BYTES + head.content_bytes]
            # Callers can send what looks like a head, but not what makes it one of entries that follow their own.
            if len(behind) == head.content_bytes and (
                not any(behind) if head.erased else _is_whole(head, behind)
            ):
                return at
        at += 1
    return len(content)


def _is_whole(head: Head, behind: bytes) -> bool:
    with suppress(EvidenceError):
        read_payload(head, behind)
        return True
    return False
