"""The columns of sealed decisions: what each holds, and how it is written so that a record takes few bytes."""

from dataclasses import dataclass

import pyarrow as pa

from steelyard.evidence.record import Outcome, Role

# Names of `observe.layout.Refusal`, by number.
REASONS = ("invalid", "not_found", "not_ready", "unsupported", "too_large", "queue_full", "deadline")

OUTCOMES = tuple(outcome.name.lower() for outcome in Outcome)
ROLES = tuple(role.name.lower() for role in Role)

DICTIONARY = "dictionary"
"""Values that come again and again."""
DELTA = "DELTA_BINARY_PACKED"
"""Numbers that rise."""
SPLIT = "BYTE_STREAM_SPLIT"
"""Numbers whose upper bytes are alike."""
PREFIXED = "DELTA_BYTE_ARRAY"
"""Bytes that begin like those before them."""
PLAIN = "PLAIN"
"""Bytes that have nothing in common."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a sealed file."""

    name: str
    type: pa.DataType
    encoding: str
    description: str


def _integer(name: str, encoding: str, description: str) -> Column:
    return Column(name, pa.int64(), encoding, description)


def _text(name: str, description: str, encoding: str = DICTIONARY) -> Column:
    return Column(name, pa.string(), encoding, description)


# Encodings were chosen by measuring (`python -m benchmarks sealing`), among those that DuckDB reads for the type.
COLUMNS = (
    Column("decision_id", pa.uuid(), PREFIXED, "The decision's id, UUIDv7."),
    Column("received", pa.timestamp("ns"), DELTA, "When its first byte came, in UTC."),
    _text("outcome", "answered, refused, failed or cancelled."),
    _integer("code", DICTIONARY, "gRPC's status code."),
    _text("reason", f"Why it was refused: {', '.join(REASONS)}; null where it was not."),
    _text("role", "In what capacity the version was asked: primary or canary."),
    _text("model", "The model that was asked for."),
    _integer("version", DICTIONARY, "The version's number; 0 where none was found."),
    _text("digest", 'The version\'s content, "sha256:..."; null where none was found.'),
    _text("signer", "Who signed the version's content; null where nobody did."),
    _integer("rows", DICTIONARY, "Rows of the request."),
    _integer("worker", DICTIONARY, "Which worker it was; null where the journal does not say."),
    _integer("batch", DELTA, "Counts the batches of one worker's process, from 1; 0 where it was in none."),
    _integer("batch_rows", DICTIONARY, "Rows of the batch."),
    _integer("batch_requests", DICTIONARY, "Requests in the batch."),
    _integer("position", DICTIONARY, "Among the requests of its batch, from 0."),
    _integer("decode_ns", SPLIT, "Nanoseconds of decoding; as all stages 0 where it did not come so far."),
    _integer("queue_ns", SPLIT, "Nanoseconds of waiting for the batch."),
    _integer("assemble_ns", DICTIONARY, "Nanoseconds of putting the batch together."),
    _integer("execute_ns", DICTIONARY, "Nanoseconds of the run."),
    _integer("encode_ns", DICTIONARY, "Nanoseconds of making the answers."),
    _integer("total_ns", SPLIT, "Nanoseconds from its first byte to its encoded answer."),
    _integer("deadline_left_ns", SPLIT, "What was left of its deadline, below zero: late; null without one."),
    _integer(
        "flags", DICTIONARY, "1: trace id, 2: deadline, 4: contract flagged a value, 8: it marked a row."
    ),
    Column("sample_rate", pa.float32(), DICTIONARY, "Share of such decisions that are recorded."),
    _text("request_id", "What the caller named it; null where it did not.", PREFIXED),
    _text("caller", "Who asked; null where nobody said."),
    _text(
        "key",
        "What the caller chose to be told from others by: a canary's share goes by it, and payloads are erased by it; "
        "null without one.",
    ),
    _text("message", "What a caller was told that got no answer; else null."),
    Column("trace_id", pa.binary(16), PLAIN, "W3C trace id; null without one."),
    Column(
        "record", pa.binary(), DICTIONARY, "The canonical record, where the others cannot hold it exactly."
    ),
)

SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])

# The stages that have a duration, in the order in which a request passes through them.
STAGES = ("decode_ns", "queue_ns", "assemble_ns", "execute_ns", "encode_ns", "total_ns")
