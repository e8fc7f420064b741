"""Datatypes of tensors, one row each: the protocol's name, ONNX's type, numpy's dtype, bytes an element."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype that the protocol and ONNX both have."""

    name: str
    """The protocol's name, such as "FP32"."""
    onnx_type: str
    """As ONNX Runtime names it, such as "tensor(float)"."""
    element_type: int
    """The number in ONNX's `TensorProto.DataType`."""
    dtype: np.dtype[Any]
    """Little-endian. BF16, which numpy has not, is stored as uint16; BYTES as objects (bytes)."""
    item_bytes: int
    """Bytes of one element; 0 for BYTES, whose elements differ in length."""


def _datatype(name: str, onnx_name: str, element_type: int, dtype: str, item_bytes: int) -> Datatype:
    return Datatype(name, f"tensor({onnx_name})", element_type, np.dtype(dtype), item_bytes)


# Numbers from TensorProto.DataType in onnx.proto3. COMPLEX64/128, FLOAT8*, (U)INT4 and (U)INT2, FLOAT4 have
# no protocol name.
DATATYPES: tuple[Datatype, ...] = (
    _datatype("BOOL", "bool", 9, "|b1", 1),
    _datatype("UINT8", "uint8", 2, "|u1", 1),
    _datatype("UINT16", "uint16", 4, "<u2", 2),
    _datatype("UINT32", "uint32", 12, "<u4", 4),
    _datatype("UINT64", "uint64", 13, "<u8", 8),
    _datatype("INT8", "int8", 3, "|i1", 1),
    _datatype("INT16", "int16", 5, "<i2", 2),
    _datatype("INT32", "int32", 6, "<i4", 4),
    _datatype("INT64", "int64", 7, "<i8", 8),
    _datatype("FP16", "float16", 10, "<f2", 2),
    _datatype("FP32", "float", 1, "<f4", 4),
    _datatype("FP64", "double", 11, "<f8", 8),
    _datatype("BF16", "bfloat16", 16, "<u2", 2),
    _datatype("BYTES", "string", 8, "|O", 0),
)

BY_NAME: dict[str, Datatype] = {datatype.name: datatype for datatype in DATATYPES}
BY_ONNX_TYPE: dict[str, Datatype] = {datatype.onnx_type: datatype for datatype in DATATYPES}
