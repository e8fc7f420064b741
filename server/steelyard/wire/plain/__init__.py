"""The codec on generated protobuf messages: the native codec's twin and its oracle in tests."""

from steelyard.wire.plain.elements import decode_bytes_tensor, encode_bytes_tensor
from steelyard.wire.plain.request import InferRequest, InputTensor, RequestedOutput, decode_request
from steelyard.wire.plain.response import (
    ResponseEncoder,
    encode_response,
    stream_error,
    wrap_stream_response,
)
from steelyard.wire.plain.signature import Signature

__all__ = [
    "InferRequest",
    "InputTensor",
    "RequestedOutput",
    "ResponseEncoder",
    "Signature",
    "decode_bytes_tensor",
    "decode_request",
    "encode_bytes_tensor",
    "encode_response",
    "stream_error",
    "wrap_stream_response",
]
