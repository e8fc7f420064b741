"""The record of one decision: what was asked of which version, how it ended, and what each stage took.

A record is bytes of a fixed head and texts behind it, all little-endian; native code writes the same bytes
(`native/journal.h`). These bytes are the canonical record: its leaf hash is taken over them.
"""

import struct
import uuid
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from steelyard.errors import EvidenceError

FORMAT = 1

HEAD = struct.Struct("<BBBBBBH16sQQQQQQQqQIIIIfHHBBBB32s")

TRACE_BYTES = 16

# What texts are cut to, in bytes of UTF-8. A length of most stands in one byte.
MAX_TEXT_BYTES = 255
MAX_REQUEST_ID_BYTES = 128
MAX_MESSAGE_BYTES = 1024

# What stands for a reason where there is none.
NO_REASON = 255


class Outcome(IntEnum):
    """How a request ended. The numbers are in records: add, never renumber."""

    ANSWERED = 0
    REFUSED = 1
    FAILED = 2
    CANCELLED = 3


class Role(IntEnum):
    """In what capacity a version was asked. The numbers are in records: add, never renumber."""

    PRIMARY = 0
    CANARY = 1


class Flag(IntFlag):
    """What else is to be said of a record."""

    TRACE = 1
    """16 bytes of a trace id stand behind the head."""
    DEADLINE = 2
    """The caller had set a deadline."""
    FLAGGED = 4
    """The data contract flagged a value."""
    MARKED = 8
    """The data contract marked a row, which has no answer of the model's."""


NO_FLAGS = Flag(0)


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision, as it is recorded. Stages are nanoseconds, 0 where a request did not come so far."""

    decision_id: str
    outcome: Outcome
    code: int
    """gRPC's status code."""
    received_unix_ns: int
    total_ns: int
    model: str
    version: int = 0
    """0 where no version was found."""
    digest: str = ""
    """The content of the version, "sha256:...", empty where none was found."""
    reason: int = NO_REASON
    """The `observe.layout.Refusal` of a request that was refused."""
    role: Role = Role.PRIMARY
    flags: Flag = NO_FLAGS
    position: int = 0
    """Among the requests of its batch."""
    decode_ns: int = 0
    queue_ns: int = 0
    assemble_ns: int = 0
    execute_ns: int = 0
    encode_ns: int = 0
    deadline_left_ns: int = 0
    """When it ended; below zero where it was late. Holds where `flags` has DEADLINE."""
    batch: int = 0
    """Counts the batches of one worker, from 1; 0 where it was in none."""
    batch_rows: int = 0
    batch_requests: int = 0
    rows: int = 0
    sample_rate: float = 1.0
    """Share of such decisions that are recorded."""
    request_id: str = ""
    """What the caller named it."""
    caller: str = ""
    key: str = ""
    """What the caller chose to be told from others by."""
    signer: str = ""
    """Who signed the version's content."""
    message: str = ""
    """What a caller was told that got no answer."""
    trace_id: str = ""
    """W3C trace id, 32 hexadecimal digits."""


def pack(decision: Decision) -> bytes:
    """The canonical record. Texts that are too long are cut at a whole character."""
    flags = decision.flags | Flag.TRACE if decision.trace_id else decision.flags & ~Flag.TRACE
    model = _cut(decision.model, MAX_TEXT_BYTES)
    request_id = _cut(decision.request_id, MAX_REQUEST_ID_BYTES)
    caller, key, signer = (
        _cut(text, MAX_TEXT_BYTES) for text in (decision.caller, decision.key, decision.signer)
    )
    message = _cut(decision.message, MAX_MESSAGE_BYTES)
    head = HEAD.pack(
        FORMAT,
        decision.outcome,
        decision.code,
        decision.reason,
        decision.role,
        flags,
        min(decision.position, 0xFFFF),
        uuid.UUID(decision.decision_id).bytes,
        decision.received_unix_ns,
        decision.decode_ns,
        decision.queue_ns,
        decision.assemble_ns,
        decision.execute_ns,
        decision.encode_ns,
        decision.total_ns,
        decision.deadline_left_ns,
        decision.batch,
        decision.batch_rows,
        decision.batch_requests,
        decision.rows,
        decision.version,
        decision.sample_rate,
        len(model),
        len(message),
        len(request_id),
        len(caller),
        len(key),
        len(signer),
        bytes.fromhex(decision.digest.removeprefix("sha256:") or "00" * 32),
    )
    return b"".join((head, bytes.fromhex(decision.trace_id), model, request_id, caller, key, signer, message))


def unpack(record: bytes) -> Decision:
    """The decision in a canonical record. Raises EvidenceError where it is none of this format."""
    if len(record) < HEAD.size or record[0] != FORMAT:
        raise EvidenceError(f"expected a decision's record of format {FORMAT}, came {len(record)} bytes")
    fields = HEAD.unpack_from(record)
    lengths = fields[22], fields[24], fields[25], fields[26], fields[27], fields[23]
    flags = Flag(fields[5])
    at = HEAD.size
    trace_id = ""
    if flags & Flag.TRACE:
        trace_id = record[at : at + TRACE_BYTES].hex()
        at += TRACE_BYTES
    if at + sum(lengths) != len(record):
        raise EvidenceError(f"expected a record of {at + sum(lengths)} bytes, came {len(record)}")
    texts = []
    try:
        for length in lengths:
            texts.append(record[at : at + length].decode())
            at += length
        outcome, role = Outcome(fields[1]), Role(fields[4])
    except ValueError as error:
        raise EvidenceError(f"expected a decision's record: {error}") from None
    model, request_id, caller, key, signer, message = texts
    digest: bytes = fields[28]
    return Decision(
        decision_id=str(uuid.UUID(bytes=fields[7])),
        outcome=outcome,
        code=fields[2],
        received_unix_ns=fields[8],
        total_ns=fields[14],
        model=model,
        version=fields[20],
        digest=f"sha256:{digest.hex()}" if any(digest) else "",
        reason=fields[3],
        role=role,
        flags=flags,
        position=fields[6],
        decode_ns=fields[9],
        queue_ns=fields[10],
        assemble_ns=fields[11],
        execute_ns=fields[12],
        encode_ns=fields[13],
        deadline_left_ns=fields[15],
        batch=fields[16],
        batch_rows=fields[17],
        batch_requests=fields[18],
        rows=fields[19],
        sample_rate=fields[21],
        request_id=request_id,
        caller=caller,
        key=key,
        signer=signer,
        message=message,
        trace_id=trace_id,
    )


def _cut(text: str, most: int) -> bytes:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= most:
        return encoded
    return encoded[:most].decode("utf-8", "ignore").encode()
