"""Shapes of the objects that both codecs give, the protocol's datatypes, and the bounds of a request."""

from collections.abc import Sequence
from typing import Protocol

# Bytes of an element, by the protocol's name of its type. BYTES elements have no fixed size: 0.
ITEM_BYTES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": 0,
    "BF16": 2,
}

# The list of InferTensorContents that carries a datatype. FP16 and BF16 have none: they are raw only.
CONTENTS_FIELD = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

# Lists of InferTensorContents by field number, from 1.
CONTENTS_FIELDS = (
    "bool_contents",
    "int_contents",
    "int64_contents",
    "uint_contents",
    "uint64_contents",
    "fp32_contents",
    "fp64_contents",
    "bytes_contents",
)

# An empty input is two bytes on the wire and an object of some 200 in memory: without a bound a body of 64
# MiB would become 6 GiB. No known model has a tenth of so many tensors.
MAX_TENSORS = 1024

# The same with parameters, of a request or of one tensor; those with a meaning are about a dozen.
MAX_PARAMETERS = 256

# Over all of a request. A million of them that replace each other would hold up everybody else's requests.
MAX_ALL_PARAMETERS = 16384

# NumPy's own limit is 64, and 32 before its version 2.
MAX_RANK = 32

# Protobuf's own limit; parsers refuse what is longer.
MAX_MESSAGE_BYTES = 2**31 - 1

# No dimension of a tensor with data can be larger than the message that carries it. This also keeps sums
# over the requests of a batch far from 2**63 where there is no data (another dimension of size zero).
MAX_DIM = MAX_MESSAGE_BYTES

# The request's id goes into every record about it.
MAX_ID_BYTES = 128

Parameter = bool | int | str | float


class InputTensor(Protocol):
    """An input of a request. The native one also gives its content through the buffer protocol."""

    @property
    def name(self) -> str: ...

    @property
    def datatype(self) -> str:
        """One of ITEM_BYTES."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Checked: the product times the size of an element is the size of `data`; () is a scalar."""

    @property
    def parameters(self) -> dict[str, Parameter]: ...

    @property
    def data(self) -> memoryview:
        """Read-only bytes: little-endian, row-major, unpadded; a four-byte length before a BYTES element."""


class OutputTensor(InputTensor, Protocol):
    """An output of an answer, of which the same holds; the native codec aligns `data` to the size of an element."""


class InferResponse(Protocol):
    """A decoded ModelInferResponse that keeps every rule that can be checked without its request."""

    @property
    def model_name(self) -> str: ...

    @property
    def model_version(self) -> str: ...

    @property
    def id(self) -> str:
        """The request's id, echoed."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Those that have a value."""

    @property
    def outputs(self) -> Sequence[OutputTensor]: ...


class RequestedOutput(Protocol):
    """An output that the caller asked for."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Parameter]: ...


class InferRequest(Protocol):
    """A decoded ModelInferRequest that keeps every rule that can be checked without the model."""

    @property
    def model_name(self) -> str: ...

    @property
    def model_version(self) -> str:
        """Empty where the caller leaves the choice to the server."""

    @property
    def id(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Parameter]: ...

    @property
    def inputs(self) -> Sequence[InputTensor]: ...

    @property
    def outputs(self) -> Sequence[RequestedOutput]:
        """Empty where the caller wants all."""

    @property
    def body(self) -> bytes:
        """The request as it came; the tensors are views into it, so that it is held in any case."""

    @property
    def body_bytes(self) -> int:
        """Size of the request on the wire, bytes."""

    @property
    def held_bytes(self) -> int:
        """What the request keeps in memory: its body, and the raw form of typed contents, bytes."""
