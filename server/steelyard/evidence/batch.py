"""Many canonical records at once: bytes to columns and back, exactly, without a step of Python for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from steelyard.errors import EvidenceError
from steelyard.evidence.columns import OUTCOMES, REASONS, ROLES, SCHEMA
from steelyard.evidence.record import FORMAT, HEAD, NO_REASON, TRACE_BYTES, Flag

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]

# The head of a record, as `record.HEAD` packs it.
HEAD_TYPE = np.dtype(
    [
        ("format", "u1"),
        ("outcome", "u1"),
        ("code", "u1"),
        ("reason", "u1"),
        ("role", "u1"),
        ("flags", "u1"),
        ("position", "<u2"),
        ("decision_id", "V16"),
        ("received", "<u8"),
        ("decode_ns", "<u8"),
        ("queue_ns", "<u8"),
        ("assemble_ns", "<u8"),
        ("execute_ns", "<u8"),
        ("encode_ns", "<u8"),
        ("total_ns", "<u8"),
        ("deadline_left_ns", "<i8"),
        ("batch", "<u8"),
        ("batch_rows", "<u4"),
        ("batch_requests", "<u4"),
        ("rows", "<u4"),
        ("version", "<u4"),
        ("sample_rate", "<f4"),
        ("model_length", "<u2"),
        ("message_length", "<u2"),
        ("request_id_length", "u1"),
        ("caller_length", "u1"),
        ("key_length", "u1"),
        ("signer_length", "u1"),
        ("digest", "V32"),
    ]
)
assert HEAD_TYPE.itemsize == HEAD.size

# Behind the head and the trace id, in this order.
TEXTS = ("model", "request_id", "caller", "key", "signer", "message")

# Taken over as they are; what does not fit into 63 bits is kept as a whole record.
_INTEGERS = (
    "code",
    "version",
    "rows",
    "batch",
    "batch_rows",
    "batch_requests",
    "position",
    "decode_ns",
    "queue_ns",
    "assemble_ns",
    "execute_ns",
    "encode_ns",
    "total_ns",
    "flags",
)
_INT64: np.dtype[Any] = np.dtype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Canonical records, one after the other in `data`."""

    data: Bytes
    starts: Numbers
    lengths: Numbers

    def __len__(self) -> int:
        return len(self.starts)

    def part(self, which: NDArray[np.intp] | slice) -> "Records":
        """Some of them; the bytes stay where they are."""
        return Records(self.data, self.starts[which], self.lengths[which])

    def to_list(self) -> list[bytes]:
        """Each as bytes."""
        data = self.data.tobytes() if len(self) > 1 else self.data
        ends = self.starts + self.lengths
        return [bytes(data[a:b]) for a, b in zip(self.starts.tolist(), ends.tolist(), strict=True)]

    @classmethod
    def of(cls, records: Sequence[bytes]) -> "Records":
        """Those of a list."""
        lengths = np.fromiter(map(len, records), np.int64, len(records))
        return cls(np.frombuffer(b"".join(records), np.uint8), _before(lengths), lengths)

    def equals(self, other: "Records") -> bool:
        """Whether they are the same, byte for byte."""
        return len(self) == len(other) and not self.differing(other).any()

    def differing(self, other: "Records") -> NDArray[np.bool_]:
        """Which of them are others there, of as many."""
        wrong: NDArray[np.bool_] = self.lengths != other.lengths
        # Those of one length are rows of a table; a process has some dozens of lengths.
        for length in np.unique(self.lengths[~wrong]).tolist():
            which = np.flatnonzero(~wrong & (self.lengths == length))
            ours = sliding_window_view(self.data, length)[self.starts[which]]
            theirs = sliding_window_view(other.data, length)[other.starts[which]]
            wrong[which] = (ours != theirs).any(axis=1)
        return wrong

    def heads(self) -> NDArray[np.void]:
        """Their heads, as `HEAD_TYPE`. Raises EvidenceError where one is no record of this format."""
        if not len(self):
            return np.empty(0, HEAD_TYPE)
        if int(self.lengths.min()) < HEAD.size:
            raise EvidenceError(f"expected records of at least {HEAD.size} bytes, came {self.lengths.min()}")
        heads = sliding_window_view(self.data, HEAD.size)[self.starts].reshape(-1).view(HEAD_TYPE)
        if (wrong := heads["format"] != FORMAT).any():
            raise EvidenceError(f"expected records of format {FORMAT}, came {heads['format'][wrong][0]}")
        traced = (heads["flags"] & Flag.TRACE) != 0
        expected = HEAD.size + TRACE_BYTES * traced + sum(_length(heads, name) for name in TEXTS)
        if (wrong := expected != self.lengths).any():
            raise EvidenceError(
                f"expected a record of {expected[wrong][0]} bytes, came {self.lengths[wrong][0]}"
            )
        return heads

    def by_model(self) -> dict[str, NDArray[np.intp]]:
        """Which records name each model, in their order; those for which no version was found are under ""."""
        heads = self.heads()
        at = self.starts + HEAD.size + TRACE_BYTES * ((heads["flags"] & Flag.TRACE) != 0)
        column, _ = _text_column(self.data, at, _length(heads, "model"))
        encoded = column.dictionary_encode()
        nobody = len(encoded.dictionary)
        indexes = np.where(
            heads["version"] == 0, nobody, numbers(encoded.indices, np.dtype(np.int32), nobody)
        )
        groups: dict[str, NDArray[np.intp]] = {}
        for index, name in enumerate([*encoded.dictionary.to_pylist(), ""]):
            if len(which := np.flatnonzero(indexes == index)):
                groups[name] = which
        return groups


def to_table(records: Records, worker: int | None) -> pa.Table:
    """The records as columns of `SCHEMA`, for looking at; `to_exact_table` makes those that give them back.

    Raises EvidenceError where one is no record of this format.
    """
    return _to_table(records, worker)[0]


def to_exact_table(records: Records, worker: int | None) -> pa.Table:
    """The same, of which `to_records` makes the very bytes again: what columns cannot hold is kept whole."""
    return _exact(*_to_table(records, worker), records)


def _to_table(records: Records, worker: int | None) -> tuple[pa.Table, NDArray[np.bool_]]:
    heads = records.heads()
    count = len(records)
    columns: dict[str, pa.Array] = {}
    columns["decision_id"] = pa.ExtensionArray.from_storage(pa.uuid(), _fixed(heads["decision_id"], 16))
    columns["received"] = _array(pa.timestamp("ns"), heads["received"].astype(np.int64))
    columns["outcome"] = _named(heads["outcome"], OUTCOMES)
    columns["role"] = _named(heads["role"], ROLES)
    columns["reason"] = _named(heads["reason"], REASONS)
    for name in _INTEGERS:
        columns[name] = _array(pa.int64(), heads[name].astype(np.int64))
    has_deadline = (heads["flags"] & Flag.DEADLINE) != 0
    left = heads["deadline_left_ns"].astype(np.int64)
    columns["deadline_left_ns"] = _array(pa.int64(), left, has_deadline)
    columns["sample_rate"] = _array(pa.float32(), heads["sample_rate"].astype(np.float32))
    has_worker = np.full(count, worker is not None)
    columns["worker"] = _array(pa.int64(), np.full(count, worker or 0, np.int64), has_worker)
    columns["digest"] = _digests(heads["digest"])
    at = records.starts + HEAD.size
    traced = (heads["flags"] & Flag.TRACE) != 0
    columns["trace_id"] = _traces(records.data, at, traced)
    at = at + TRACE_BYTES * traced
    spoilt = np.zeros(count, bool)
    for name in TEXTS:
        lengths = _length(heads, name)
        columns[name], wrong = _text_column(records.data, at, lengths)
        spoilt |= wrong
        at = at + lengths
    columns["record"] = pa.nulls(count, pa.binary())
    table = pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)
    return table, spoilt


def to_records(table: pa.Table) -> Records:
    """The canonical records that a table of `SCHEMA` was made of."""
    table = table.combine_chunks()
    heads = np.zeros(len(table), HEAD_TYPE)
    heads["format"] = FORMAT
    heads["decision_id"] = _bytes_of(table, "decision_id", 16)
    heads["received"] = numbers(table["received"])
    for name, names in (("outcome", OUTCOMES), ("role", ROLES), ("reason", REASONS)):
        heads[name] = _numbered(table[name], names)
    for name in _INTEGERS:
        # Numbers that are too large are in `record`, which takes the place of what is made of them here.
        heads[name] = numbers(table[name]).astype(HEAD_TYPE[name])
    heads["deadline_left_ns"] = numbers(table["deadline_left_ns"])
    heads["sample_rate"] = numbers(table["sample_rate"], np.dtype(np.float32))
    heads["digest"] = _digest_bytes(table["digest"])
    traced = (heads["flags"] & Flag.TRACE) != 0
    texts = {name: _text_bytes(table[name]) for name in TEXTS}
    for name, text in texts.items():
        heads[f"{name}_length"] = text.lengths.astype(HEAD_TYPE[f"{name}_length"])
    lengths = HEAD.size + TRACE_BYTES * traced + sum(_length(heads, name) for name in TEXTS)
    lengths = lengths.astype(np.int64)
    starts = _before(lengths)
    out = np.empty(int(lengths.sum()), np.uint8)
    if len(table):
        sliding_window_view(out, HEAD.size, writeable=True)[starts] = heads.view(np.uint8).reshape(
            -1, HEAD.size
        )
    at = starts + HEAD.size
    if traced.any():
        traces = _bytes_of(table, "trace_id", TRACE_BYTES).view(np.uint8).reshape(-1, TRACE_BYTES)
        sliding_window_view(out, TRACE_BYTES, writeable=True)[at[traced]] = traces[traced]
    at = at + TRACE_BYTES * traced
    for name in TEXTS:
        text = texts[name]
        out[_places(at, text.lengths)] = text.data[_places(text.starts, text.lengths)]
        at = at + text.lengths
    return _with_whole(table, Records(out, starts, lengths))


def _exact(table: pa.Table, spoilt: NDArray[np.bool_], records: Records) -> pa.Table:
    """Puts each record whole into its row where the columns do not give it back."""
    wrong = spoilt | records.differing(to_records(table))
    if not wrong.any():
        return table
    whole: list[bytes | None] = [None] * len(table)
    places = np.flatnonzero(wrong)
    for place, record in zip(places.tolist(), records.part(places).to_list(), strict=True):
        whole[place] = record
    return table.set_column(table.schema.get_field_index("record"), "record", blobs(whole, pa.binary()))


def _with_whole(table: pa.Table, records: Records) -> Records:
    """The records with those in the place of theirs that are kept whole."""
    column = table["record"]
    if column.null_count == len(table):
        return records
    kept = [whole or made for whole, made in zip(column.to_pylist(), records.to_list(), strict=True)]
    return Records.of(kept)


def _length(heads: NDArray[np.void], text: str) -> Numbers:
    lengths: Numbers = heads[f"{text}_length"].astype(np.int64)
    return lengths


def _before(lengths: Numbers) -> Numbers:
    """Where each begins, one after the other."""
    starts: Numbers = np.cumsum(lengths) - lengths
    return starts


def _places(starts: Numbers, lengths: Numbers) -> Numbers:
    """The index of every byte of every text."""
    total = int(lengths.sum())
    places: Numbers = np.repeat(starts - _before(lengths), lengths) + np.arange(total, dtype=np.int64)
    return places


def _fixed(values: NDArray[np.void], width: int) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(values).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, data])


def _named(numbers: Bytes, names: tuple[str, ...]) -> pa.Array:
    """Texts in the place of numbers, null where one has no name."""
    known = numbers < len(names)
    return _texts(names).take(_array(pa.int64(), np.where(known, numbers, 0).astype(np.int64), known))


def _numbered(column: pa.ChunkedArray, names: tuple[str, ...]) -> Bytes:
    encoded = column.combine_chunks().dictionary_encode()
    known = [names.index(name) for name in encoded.dictionary.to_pylist()]
    table = np.array([*known, NO_REASON], np.uint8)
    found: Bytes = table[numbers(encoded.indices, np.dtype(np.int32), len(known))]
    return found


def _digests(values: NDArray[np.void]) -> pa.Array:
    unique, inverse = np.unique(np.ascontiguousarray(values), return_inverse=True)
    texts = [f"sha256:{value.tobytes().hex()}" if any(value.tobytes()) else None for value in unique]
    return _texts(texts).take(_array(pa.int64(), inverse.reshape(-1)))


def _digest_bytes(column: pa.ChunkedArray) -> NDArray[np.void]:
    encoded = column.combine_chunks().dictionary_encode()
    known = [bytes.fromhex(text.removeprefix("sha256:")) for text in encoded.dictionary.to_pylist()]
    table = np.frombuffer(b"".join([*known, bytes(32)]), "V32")
    found: NDArray[np.void] = table[numbers(encoded.indices, np.dtype(np.int32), len(known))]
    return found


def _traces(data: Bytes, at: Numbers, traced: NDArray[np.bool_]) -> pa.Array:
    if not traced.any():
        return pa.nulls(len(at), pa.binary(TRACE_BYTES))
    ids = _fixed(sliding_window_view(data, TRACE_BYTES)[at[traced]].reshape(-1).view("V16"), TRACE_BYTES)
    return ids.take(_array(pa.int64(), np.cumsum(traced) - 1, traced))


def _bytes_of(table: pa.Table, name: str, width: int) -> NDArray[np.void]:
    """A column of fixed width; zeros where it is null."""
    column = table[name].combine_chunks()
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    if not len(storage):
        return np.empty(0, f"V{width}")
    values = np.frombuffer(storage.buffers()[1], f"V{width}", len(storage), storage.offset * width)
    return np.where(_present(storage), values, np.zeros((), f"V{width}")) if storage.null_count else values


def _text_column(data: Bytes, at: Numbers, lengths: Numbers) -> tuple[pa.Array, NDArray[np.bool_]]:
    """A column of texts, null where they are empty; and which of them are not UTF-8, whose bytes it does not have."""
    spoilt = np.zeros(len(at), bool)
    if not lengths.any():
        return pa.nulls(len(at), pa.string()), spoilt
    text = data[_places(at, lengths)].tobytes()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    present = pa.py_buffer(np.packbits(lengths > 0, bitorder="little"))
    column = pa.StringArray.from_buffers(
        len(at), pa.py_buffer(offsets.tobytes()), pa.py_buffer(text), present
    )
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        ends = np.cumsum(lengths).tolist()
        texts = [text[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]
        decoded = [one.decode("utf-8", "replace") or None for one in texts]
        spoilt[:] = [(new or "").encode() != old for new, old in zip(decoded, texts, strict=True)]
        column = _texts(decoded)
    return column, spoilt


def _text_bytes(column: pa.ChunkedArray) -> Records:
    """The bytes of a column of texts; nothing where it is null."""
    array = column.combine_chunks()
    if array.null_count == len(array):
        nothing = np.zeros(len(array), np.int64)
        return Records(np.empty(0, np.uint8), nothing, nothing)
    _, offsets_buffer, text = array.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32, len(array) + 1, array.offset * 4).astype(np.int64)
    return Records(np.frombuffer(text, np.uint8), offsets[:-1], np.diff(offsets) * _present(array))


# What `pa.array` does, without the import of pandas that it begins with, which takes a second.


def _texts(values: Sequence[str | None]) -> pa.Array:
    return blobs([None if value is None else value.encode() for value in values], pa.string())


def blobs(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    lengths = np.array([len(value or b"") for value in values], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    present = np.packbits(np.array([value is not None for value in values], bool), bitorder="little")
    data = b"".join(value or b"" for value in values)
    buffers = [pa.py_buffer(present), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(values), buffers)


def numbers(
    column: pa.Array | pa.ChunkedArray, dtype: np.dtype[Any] = _INT64, absent: int = 0
) -> NDArray[Any]:
    """The values of a column of numbers, `absent` where it is null."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not len(array):
        return np.empty(0, dtype)
    values = np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)
    return np.where(_present(array), values, dtype.type(absent)) if array.null_count else values


def _present(array: pa.Array) -> NDArray[np.bool_]:
    """Where a column is not null."""
    if not array.null_count:
        return np.ones(len(array), bool)
    mask = np.frombuffer(array.buffers()[0], np.uint8)
    bits = np.unpackbits(mask, count=array.offset + len(array), bitorder="little")
    return bits[array.offset :].astype(bool)


def _array(kind: pa.DataType, values: NDArray[Any], present: NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of these values, null where they are not `present`."""
    mask = None if present is None else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [mask, pa.py_buffer(np.ascontiguousarray(values))])
