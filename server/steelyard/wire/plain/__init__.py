"""The codec on generated protobuf messages: the native codec's twin and its oracle in tests."""

from steelyard.wire.plain.answer import InferResponse, decode_response, decode_stream_response
from steelyard.wire.plain.elements import decode_bytes_tensor, encode_bytes_tensor
from steelyard.wire.plain.encoding import encode_request, encode_response, stream_error, wrap_stream_response
from steelyard.wire.plain.request import InferRequest, RequestedOutput, Tensor, decode_request
from steelyard.wire.plain.response import ResponseEncoder
from steelyard.wire.plain.signature import Signature

__all__ = [
    "InferRequest",
    "InferResponse",
    "RequestedOutput",
    "ResponseEncoder",
    "Signature",
    "Tensor",
    "decode_bytes_tensor",
    "decode_request",
    "decode_response",
    "decode_stream_response",
    "encode_bytes_tensor",
    "encode_request",
    "encode_response",
    "stream_error",
    "wrap_stream_response",
]
