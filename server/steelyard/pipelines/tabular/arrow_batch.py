"""One Arrow record batch of flat fields, out of an IPC stream or file, without a library.

Arrow columnar format, "Serialization and Interprocess Communication", with `Message.fbs` and `Schema.fbs`.
The bytes are a stranger's, and the light bindings that were tried (nanoarrow 0.9) crash on a batch whose
buffers lie outside its body. Compression is refused: a buffer names its own size unpacked, so a few kilobytes
could ask for gigabytes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from steelyard.errors import InvalidRequest
from steelyard.pipelines.tabular.flatbuffer import Malformed, Table

_CONTINUATION = b"\xff\xff\xff\xff"
_FILE_MAGIC = b"ARROW1"
# Kinds of a message's header, and fields of the tables, by their place in the schemas.
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_HEADER_KIND, _HEADER, _BODY_BYTES = 1, 2, 3
_ENDIANNESS, _FIELDS = 0, 1
_NAME, _TYPE_KIND, _TYPE, _DICTIONARY_ENCODING, _CHILDREN = 0, 2, 3, 4, 5
_LENGTH, _NODES, _BUFFERS, _COMPRESSION = 0, 1, 2, 3

_INT, _FLOAT, _UTF8, _BOOL, _DATE, _TIMESTAMP, _LARGE_UTF8 = 2, 3, 5, 6, 8, 10, 20
_OTHER_TYPES = {
    1: "null",
    4: "binary",
    7: "decimal",
    9: "time",
    11: "interval",
    12: "list",
    13: "struct",
    14: "union",
    15: "fixed_size_binary",
    16: "fixed_size_list",
    17: "map",
    18: "duration",
    19: "large_binary",
    21: "large_list",
    22: "run_end_encoded",
    23: "binary_view",
    24: "string_view",
}
_BUFFERS_OF = {"string": 3, "large_string": 3}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the schema."""

    name: str
    type: str
    """As pyarrow writes it without parameters, such as "double", "uint8", "string", "timestamp[us]"."""
    flat: bool
    """Whether the batch reader knows its buffers."""


@dataclass(frozen=True, slots=True)
class Array:
    """The buffers of a field; none is longer than the body, and none may be long enough."""

    validity: memoryview
    """Empty where no value is missing."""
    buffers: tuple[memoryview, ...]
    """Values; of text the offsets and the bytes."""


class Batch:
    """A schema and the batch behind it; `arrays` only of flat fields."""

    def __init__(self, data: memoryview, name: str, max_fields: int) -> None:
        """Raises InvalidRequest that names input `name` where `data` is not one uncompressed batch."""
        self._name = name
        try:
            (schema, _), (batch, body) = self._messages(data)
            if schema.number(_ENDIANNESS, 2):
                raise self._refused("its values are big-endian")
            if schema.length(_FIELDS) > max_fields:
                raise self._refused(f"it has {schema.length(_FIELDS)} fields, more than {max_fields}")
            self.fields = [_field(field) for field in schema.tables(_FIELDS)]
            self.rows = batch.number(_LENGTH, 8)
            if batch.has(_COMPRESSION):
                raise self._refused("its buffers are compressed")
            if self.rows < 0:
                raise Malformed
            self._batch, self._body = batch, body
        except Malformed:
            raise self._refused("a message is malformed") from None

    def arrays(self) -> list[Array]:
        """One for each field, all of which must be flat. Raises InvalidRequest where the batch has others."""
        try:
            if self._batch.length(_NODES) != len(self.fields):
                raise Malformed
            places = self._batch.pairs(_BUFFERS)
            arrays = []
            for field, (rows, _) in zip(self.fields, self._batch.pairs(_NODES), strict=True):
                if rows != self.rows:
                    raise self._refused(f"field '{field.name:.80}' has {rows} rows of {self.rows}")
                count = _BUFFERS_OF.get(field.type, 2)
                validity, *buffers = [
                    self._buffer(place) for _, place in zip(range(count), places, strict=False)
                ]
                if len(buffers) != count - 1:
                    raise Malformed
                arrays.append(Array(validity, tuple(buffers)))
        except (Malformed, ValueError):
            raise self._refused("its batch does not fit its schema") from None
        return arrays

    def _buffer(self, place: tuple[int, int]) -> memoryview:
        offset, size = place
        if offset < 0 or size < 0 or offset > len(self._body) or size > len(self._body) - offset:
            raise self._refused("a buffer lies outside the body")
        return self._body[offset : offset + size]

    def _messages(self, data: memoryview) -> list[tuple[Table, memoryview]]:
        """The headers of schema and batch, each with its body."""
        if data[: len(_FILE_MAGIC)] == _FILE_MAGIC:
            data = data[8:]
        found: list[tuple[Table, memoryview]] = []
        for kind, header, body in self._each(data):
            expected = _SCHEMA if not found else _BATCH
            if kind != expected or len(found) == 2:
                came = (
                    "a dictionary" if kind == _DICTIONARY else f"message {len(found) + 1} is of kind {kind}"
                )
                raise self._refused(f"it has {came}" if kind == _DICTIONARY else came)
            found.append((header, body))
        if len(found) != 2:
            raise self._refused("it ends before the batch")
        return found

    def _each(self, data: memoryview) -> Iterator[tuple[int, Table, memoryview]]:
        at = 0
        while len(data) - at >= 8:
            if data[at : at + 4] != _CONTINUATION:
                raise self._refused(f"no message begins at byte {at}")
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8
            if size == 0:
                return
            if size > len(data) - at:
                raise self._refused(f"the message at byte {at} is cut off")
            message = Table.root(data[at : at + size])
            at += size
            body_bytes = message.number(_BODY_BYTES, 8)
            if not 0 <= body_bytes <= len(data) - at:
                raise self._refused(f"the body at byte {at} is cut off")
            yield message.number(_HEADER_KIND, 1), message.table(_HEADER), data[at : at + body_bytes]
            at += body_bytes

    def _refused(self, what: str) -> InvalidRequest:
        return InvalidRequest(
            f"input '{self._name}': expected an Arrow IPC stream or file of a schema and one uncompressed record "
            f"batch, without dictionaries, but {what}"
        )


def _field(field: Table) -> Field:
    name = field.text(_NAME)
    if field.has(_DICTIONARY_ENCODING):
        return Field(name, "dictionary", False)
    kind = field.number(_TYPE_KIND, 1)
    if field.length(_CHILDREN) or kind not in _TYPES:
        return Field(name, _OTHER_TYPES.get(kind, f"type {kind}"), False)
    return Field(name, _TYPES[kind](field.table(_TYPE)), True)


def _one_of(names: dict[int, str], number: int) -> str:
    if number not in names:
        raise Malformed
    return names[number]


def _int(type_: Table) -> str:
    bits = {8: "int8", 16: "int16", 32: "int32", 64: "int64"}
    return ("" if type_.number(1, 1) else "u") + _one_of(bits, type_.number(0, 4))


_UNITS = {0: "s", 1: "ms", 2: "us", 3: "ns"}
_TYPES: dict[int, Callable[[Table], str]] = {
    _INT: _int,
    _FLOAT: lambda type_: _one_of({0: "halffloat", 1: "float", 2: "double"}, type_.number(0, 2)),
    _UTF8: lambda _: "string",
    _LARGE_UTF8: lambda _: "large_string",
    _BOOL: lambda _: "bool",
    _DATE: lambda type_: _one_of({0: "date32[day]", 1: "date64[ms]"}, type_.number(0, 2, 1)),
    _TIMESTAMP: lambda type_: f"timestamp[{_one_of(_UNITS, type_.number(0, 2))}]",
}
