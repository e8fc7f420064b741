"""The wire, by the native codec: request bytes to tensors, and tensors to response bytes."""

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
