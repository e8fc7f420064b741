"""The tensors of an answer, and nothing else of it: two are decoded for every pair."""

from google.protobuf.message import DecodeError

from steelyard.client.tensors import Array, decode_tensor
from steelyard.errors import SteelyardError
from steelyard.wire.generated.grpc_service import ModelInferResponse

Outputs = dict[str, Array]
"""By name; read-only. BYTES are objects (bytes), BF16 its bits as uint16."""


def decoded(answer: bytes) -> Outputs | None:
    """The outputs of a serialized ModelInferResponse; None for what is no answer."""
    try:
        message = ModelInferResponse.FromString(answer)
        return {
            tensor.name: decode_tensor(tensor.name, tensor.datatype, tensor.shape, raw)
            for tensor, raw in zip(message.outputs, message.raw_output_contents, strict=True)
        }
    except (DecodeError, SteelyardError, ValueError):
        return None
