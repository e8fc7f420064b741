"""A captured payload: a request and its answer as they are kept, with the salt of their digests.

An entry of a file is a head of fixed size, and behind it what is said of the payload (JSON), the request and the
answer, all under one checksum. What is erased keeps its head and its length; everything behind the head is nought.
"""

import hashlib
import json
import struct
import uuid
import zlib
from dataclasses import dataclass, field
from typing import Any

from steelyard.errors import EvidenceError

FORMAT = 1

# Magic, format, state, bytes of what is said, of the request and of the answer, their CRC-32, the decision id, and the
# CRC-32 of all before it.
HEAD = struct.Struct("<4sBB2xIIII16s")
_SUM = struct.Struct("<I")
HEAD_BYTES = HEAD.size + _SUM.size
MAGIC = b"SPLD"

LIVE = 1
ERASED = 2

SALT_BYTES = 32

# Notes are a kilobyte at most; of more masks than fit the journal has the number, and the payload the names.
MAX_NOTED_CHARS = 256

# The longest entry that is read: a manifest may ask for a gibibyte of request and answer.
MAX_ABOUT_BYTES = 1 << 20
MAX_PART_BYTES = 1 << 30


class DamagedPayload(EvidenceError):
    """What is behind an entry's head is not what was written there."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What is kept of one decision's request and answer, masked."""

    decision_id: str
    model: str
    version: int
    """0 where no version was found."""
    digest: str
    """The content of the version, "sha256:...", empty where none was found."""
    status: int
    """gRPC's status code; 0 for an answer."""
    reasons: tuple[str, ...]
    """Why it is kept: "rate", "digest", or one of the manifest's reasons."""
    masked: tuple[str, ...]
    """The masks that met something."""
    request_id: str
    key: str
    salt: bytes
    input_digest: str
    """"sha256:...", over the salt and the request as it is kept."""
    output_digest: str
    kept: bool
    """Whether request and answer are here; else only their digests."""
    request: bytes = b""
    """The serialized ModelInferRequest."""
    answer: bytes = b""
    """The serialized ModelInferResponse; where it failed, the error's text in UTF-8."""
    tensors: dict[str, str] = field(default_factory=dict)
    """By name of the model's own inputs, the digest of what the pipeline made; empty where there is no pipeline."""

    def note(self, file: str, offset: int) -> dict[str, Any]:
        """What the journal says of it."""
        return {
            "note": "payload",
            "decision_id": self.decision_id,
            "model": self.model,
            "file": file,
            "offset": offset,
            "kept": self.kept,
            "input_digest": self.input_digest,
            "output_digest": self.output_digest,
            "masked": list(self.masked) if sum(map(len, self.masked)) <= MAX_NOTED_CHARS else [],
            "masked_count": len(self.masked),
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an entry: as much as is needed to pass over it."""

    decision_id: str
    erased: bool
    about_bytes: int
    request_bytes: int
    answer_bytes: int
    checksum: int

    @property
    def content_bytes(self) -> int:
        """What follows the head."""
        return self.about_bytes + self.request_bytes + self.answer_bytes


def salted(salt: bytes, content: bytes | memoryview) -> str:
    """The digest of `content`: SHA-256 over the salt and it."""
    found = hashlib.sha256(salt)
    found.update(content)
    return f"sha256:{found.hexdigest()}"


def pack(payload: Payload) -> bytes:
    """The entry."""
    about = json.dumps(
        {
            "model": payload.model,
            "version": payload.version,
            "digest": payload.digest,
            "status": payload.status,
            "reasons": payload.reasons,
            "masked": payload.masked,
            "request_id": payload.request_id,
            "key": payload.key,
            "salt": payload.salt.hex(),
            "input_digest": payload.input_digest,
            "output_digest": payload.output_digest,
            "kept": payload.kept,
            "tensors": payload.tensors,
        },
        separators=(",", ":"),
    ).encode()
    content = b"".join((about, payload.request, payload.answer))
    head = Head(
        payload.decision_id,
        False,
        len(about),
        len(payload.request),
        len(payload.answer),
        zlib.crc32(content),
    )
    return pack_head(head) + content


def pack_head(head: Head) -> bytes:
    """The bytes of a head."""
    raw = HEAD.pack(
        MAGIC,
        FORMAT,
        ERASED if head.erased else LIVE,
        head.about_bytes,
        head.request_bytes,
        head.answer_bytes,
        head.checksum,
        uuid.UUID(head.decision_id).bytes,
    )
    return raw + _SUM.pack(zlib.crc32(raw))


def read_head(raw: bytes) -> Head:
    """The head in `raw`, which has HEAD_BYTES. Raises EvidenceError for what is none."""
    if len(raw) != HEAD_BYTES:
        raise EvidenceError(f"expected an entry's head of {HEAD_BYTES} bytes, came {len(raw)}")
    magic, form, state, about, request, answer, checksum, decision = HEAD.unpack_from(raw)
    if _SUM.unpack_from(raw, HEAD.size)[0] != zlib.crc32(raw[: HEAD.size]):
        raise EvidenceError("expected an entry's head and the checksum that belongs to it")
    if (magic, form) != (MAGIC, FORMAT) or state not in (LIVE, ERASED):
        raise EvidenceError(f"expected an entry of format {FORMAT}")
    if about > MAX_ABOUT_BYTES or max(request, answer) > MAX_PART_BYTES:
        raise EvidenceError(
            f"expected an entry within its bounds, came {about}, {request} and {answer} bytes"
        )
    return Head(str(uuid.UUID(bytes=decision)), state == ERASED, about, request, answer, checksum)


def read_payload(head: Head, content: bytes) -> Payload:
    """The payload behind a head that is not erased. Raises DamagedPayload; EvidenceError for another form."""
    if len(content) != head.content_bytes or zlib.crc32(content) != head.checksum:
        raise DamagedPayload(f"the payload of decision {head.decision_id} is damaged")
    middle = head.about_bytes + head.request_bytes
    try:
        said = json.loads(content[: head.about_bytes])
        return Payload(
            decision_id=head.decision_id,
            model=said["model"],
            version=said["version"],
            digest=said["digest"],
            status=said["status"],
            reasons=tuple(said["reasons"]),
            masked=tuple(said["masked"]),
            request_id=said["request_id"],
            key=said["key"],
            salt=bytes.fromhex(said["salt"]),
            input_digest=said["input_digest"],
            output_digest=said["output_digest"],
            kept=said["kept"],
            request=content[head.about_bytes : middle],
            answer=content[middle:],
            tensors=said["tensors"],
        )
    except (ValueError, TypeError, KeyError) as error:
        raise EvidenceError(f"the payload of decision {head.decision_id} cannot be read: {error!r}") from None
