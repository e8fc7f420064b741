"""numpy arrays as the protocol's tensors: an array's datatype, its raw bytes, and the way back."""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from steelyard.errors import InvalidRequest
from steelyard.models.datatypes import BY_NAME, DATATYPES
from steelyard.wire import decode_bytes_tensor, encode_bytes_tensor
from steelyard.wire.types import OutputTensor

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

# By kind and size, as numpy has several dtypes for one layout. BF16 is not here: its bits are kept as uint16.
_BY_LAYOUT = {
    (datatype.dtype.kind, datatype.item_bytes): datatype.name
    for datatype in DATATYPES
    if datatype.name not in ("BF16", "BYTES")
}
# Most arrays: nothing about these is to be asked but whether they are contiguous.
_LITTLE_ENDIAN = {
    datatype.dtype: datatype.name for datatype in DATATYPES if datatype.name in _BY_LAYOUT.values()
}
_DTYPES = {datatype.name: datatype.dtype for datatype in DATATYPES}
# Objects, byte strings, text, and numpy 2's text of variable width.
_STRING_KINDS = "OSUT"


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An array whose datatype its dtype does not tell: the bits of BF16 are a uint16 array."""

    array: Array
    datatype: str
    """The protocol's name, such as "BF16"."""


class EncodedTensor(NamedTuple):
    """An input in the protocol's raw form."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes | memoryview
    """Little-endian, row-major, unpadded; four bytes of length before each element of BYTES."""


def encode_tensor(name: str, value: Array | Tensor) -> EncodedTensor:
    """The input `name` in raw form; copied only where its bytes do not lie as the protocol wants them.

    Raises InvalidRequest for what is no array, a dtype that the protocol does not have, and objects that are
    neither str nor bytes.
    """
    if isinstance(value, np.ndarray) and (plain := _LITTLE_ENDIAN.get(value.dtype)) is not None:
        content = value.data
        if content.c_contiguous:
            return EncodedTensor(name, plain, value.shape, content)
    array, wanted = (value.array, value.datatype) if isinstance(value, Tensor) else (value, None)
    if not isinstance(array, np.ndarray | np.generic):
        raise InvalidRequest(f"input {name!r}: expected a numpy array, came {type(array).__name__}")
    array = np.asarray(array)
    # A dtype's name is put together anew each time that it is asked for.
    if array.dtype.kind == "V" and array.dtype.name == "bfloat16":
        array, wanted = array.view(np.uint16), wanted or "BF16"
    datatype = _datatype_of(name, array, wanted)
    if datatype == "BYTES":
        return EncodedTensor(name, datatype, array.shape, _encode_strings(name, array))
    if not array.flags.c_contiguous or array.dtype.str[0] == ">":
        contiguous = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        return EncodedTensor(name, datatype, array.shape, contiguous.data)
    return EncodedTensor(name, datatype, array.shape, array.data)


def decode_tensor(tensor: OutputTensor) -> Array:
    """The output as an array that cannot be written to, as its memory is the answer's. BYTES become objects (bytes)."""
    if tensor.datatype == "BYTES":
        elements = decode_bytes_tensor(tensor.data)
        array = np.empty(len(elements), dtype=object)
        array[:] = elements
        return array.reshape(tensor.shape)
    return np.ndarray(tensor.shape, _DTYPES[tensor.datatype], tensor.data)


def _datatype_of(name: str, array: Array, wanted: str | None) -> str:
    dtype = array.dtype
    natural = "BYTES" if dtype.kind in _STRING_KINDS else _BY_LAYOUT.get((dtype.kind, dtype.itemsize))
    if wanted is None:
        if natural is None:
            raise InvalidRequest(f"input {name!r}: numpy's {dtype} is no datatype of the protocol")
        return natural
    if wanted not in BY_NAME:
        raise InvalidRequest(f"input {name!r}: expected a datatype of {', '.join(BY_NAME)}, came {wanted!r}")
    if natural != ("UINT16" if wanted == "BF16" else wanted):
        expected = "str or bytes" if wanted == "BYTES" else BY_NAME[wanted].dtype.name
        raise InvalidRequest(f"input {name!r}: expected an array of {expected} for {wanted}, came {dtype}")
    return wanted


def _encode_strings(name: str, array: Array) -> bytes:
    elements = array.ravel().tolist()
    for element in elements:
        if not isinstance(element, str | bytes):
            raise InvalidRequest(
                f"input {name!r}: expected elements of str or bytes, came {type(element).__name__}"
            )
    try:
        return encode_bytes_tensor(elements)
    except UnicodeEncodeError as exc:
        raise InvalidRequest(f"input {name!r}: expected text that UTF-8 can hold: {exc.reason}") from None
