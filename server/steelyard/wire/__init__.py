"""The wire, by the native codec: messages to tensors and tensors to messages, at the server and at the client."""

from steelyard._native.wire import (
    InferRequest,
    InferResponse,
    RequestedOutput,
    ResponseEncoder,
    Signature,
    Tensor,
    decode_bytes_tensor,
    decode_request,
    decode_response,
    decode_stream_response,
    encode_bytes_tensor,
    encode_request,
    encode_response,
    stream_error,
    wrap_stream_response,
)

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
