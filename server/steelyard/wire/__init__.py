"""The wire: request bytes to tensors, tensors to response bytes, by the native codec (its twin is `wire.plain`)."""

from steelyard._native.wire import (
    InferRequest,
    InputTensor,
    RequestedOutput,
    ResponseEncoder,
    Signature,
    decode_bytes_tensor,
    decode_request,
    encode_bytes_tensor,
    encode_response,
    stream_error,
    wrap_stream_response,
)

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
