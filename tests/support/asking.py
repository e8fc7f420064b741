"""Asking a server over gRPC with messages of our own, or with bytes that are none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from steelyard.models.datatypes import BY_NAME
from steelyard.wire import decode_bytes_tensor, encode_bytes_tensor
from steelyard.wire.generated import grpc_service as pb
from tests.support.certificates import Pair

SERVICE = "/inference.GRPCInferenceService/"

# Well above what any call here takes, so that a lost answer fails a test and does not hang it.
TIMEOUT_S = 30.0

Array = np.ndarray[Any, Any]


def parameter(value: bool | int | str | float) -> Any:
    """A parameter as clients send it."""
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        return pb.InferParameter(int64_param=value)
    if isinstance(value, str):
        return pb.InferParameter(string_param=value)
    return pb.InferParameter(double_param=value)


def raw(array: Array, datatype: str) -> bytes:
    """An array's raw form; strings and bytes for BYTES."""
    return encode_bytes_tensor(array.ravel().tolist()) if datatype == "BYTES" else array.tobytes()


def datatype_of(array: Array) -> str:
    """The protocol's name of an array's type; BF16 cannot be told from UINT16."""
    if array.dtype.kind in "OSU":
        return "BYTES"
    return next(name for name, known in BY_NAME.items() if known.dtype == array.dtype and name != "BF16")


def live(address: str, roots: Path | None = None, own: Pair | None = None) -> bool:
    """Whether a server says that it lives, over TLS where `roots` are given. Raises grpc.RpcError."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if roots is None:
        channel = grpc.insecure_channel(address, options)
    else:
        pair = own.pem() if own is not None else (None, None)
        channel = grpc.secure_channel(
            address, grpc.ssl_channel_credentials(roots.read_bytes(), *pair), options
        )
    with channel:
        answer = channel.unary_unary(f"{SERVICE}ServerLive")(b"", timeout=TIMEOUT_S)
    return bool(pb.ServerLiveResponse.FromString(answer).live)


def request(
    model: str,
    inputs: Mapping[str, Array] | None = None,
    *,
    version: str = "",
    id: str = "",
    outputs: Sequence[str] = (),
    parameters: Mapping[str, bool | int | str | float] | None = None,
    datatypes: Mapping[str, str] | None = None,
) -> Any:
    """A ModelInferRequest with raw contents."""
    message = pb.ModelInferRequest(model_name=model, model_version=version, id=id)
    for name, array in (inputs or {}).items():
        datatype = (datatypes or {}).get(name) or datatype_of(array)
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        message.raw_input_contents.append(raw(array, datatype))
    for output in outputs:
        message.outputs.add(name=output)
    for name, given in (parameters or {}).items():
        message.parameters[name].CopyFrom(parameter(given))
    return message


def arrays(response: Any) -> dict[str, Array]:
    """The outputs of a ModelInferResponse by name; BYTES as arrays of bytes, BF16 as its bits."""
    found: dict[str, Array] = {}
    for output, content in zip(response.outputs, response.raw_output_contents, strict=True):
        if output.datatype == "BYTES":
            values = decode_bytes_tensor(content)
            array = np.empty(len(values), dtype=object)
            array[:] = values
        else:
            array = np.frombuffer(content, BY_NAME[output.datatype].dtype)
        found[output.name] = array.reshape(list(output.shape))
    return found


@dataclass(frozen=True)
class Refusal:
    """How a call ended that got no answer."""

    code: grpc.StatusCode
    message: str
    trailing: dict[str, str]


class Asker:
    """One channel to a server."""

    def __init__(self, address: str, roots: Path | None = None, **options: int) -> None:
        """roots: the authorities to trust, of a server that speaks TLS."""
        given = {"grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1, **options}
        # A channel of its own each: gRPC shares connections between channels to one address otherwise.
        given.setdefault("grpc.use_local_subchannel_pool", 1)
        self.address = address
        if roots is None:
            self.channel = grpc.insecure_channel(address, options=list(given.items()))
        else:
            credentials = grpc.ssl_channel_credentials(roots.read_bytes())
            self.channel = grpc.secure_channel(address, credentials, options=list(given.items()))

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def raw(self, method: str, body: bytes, **how: Any) -> bytes:
        """One unary call, bytes in and bytes out. `method` without a slash is one of the inference service."""
        how.setdefault("timeout", TIMEOUT_S)
        answer: bytes = self.channel.unary_unary(_full(method))(body, **how)
        return answer

    def call(self, method: str, message: Any = None, **how: Any) -> Any:
        """One unary call of the inference service, with its messages."""
        message = getattr(pb, f"{method}Request")() if message is None else message
        return getattr(pb, f"{method}Response").FromString(
            self.raw(method, message.SerializeToString(), **how)
        )

    def infer(self, model: str, inputs: Mapping[str, Array] | None = None, **how: Any) -> dict[str, Array]:
        """The outputs of one inference, by name."""
        return arrays(self.call("ModelInfer", request(model, inputs, **how)))

    def outcome(self, message: Any, method: str = "ModelInfer", **how: Any) -> Refusal | None:
        """How a call ends, None where it is answered. `message` is a message or bytes."""
        body = message if isinstance(message, bytes) else message.SerializeToString()
        try:
            self.raw(method, body, **how)
        except grpc.RpcError as error:
            trailing = {key: _text(value) for key, value in error.trailing_metadata() or ()}
            return Refusal(error.code(), error.details() or "", trailing)
        return None

    def refused(self, message: Any, method: str = "ModelInfer", **how: Any) -> Refusal:
        """How a call ends that must get no answer."""
        refusal = self.outcome(message, method, **how)
        assert refusal is not None, "an answer came where a refusal was expected"
        return refusal

    def start(self, message: Any, **how: Any) -> grpc.Future:
        """An inference whose outcome comes later."""
        how.setdefault("timeout", TIMEOUT_S)
        return self.channel.unary_unary(_full("ModelInfer")).future(message.SerializeToString(), **how)

    def stream(self, messages: Iterable[Any], **how: Any) -> Iterator[Any]:
        """ModelStreamInfer: the answers as they come."""
        how.setdefault("timeout", TIMEOUT_S)
        call = self.channel.stream_stream(
            _full("ModelStreamInfer"),
            request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        return call(iter(messages), **how)


def _full(method: str) -> str:
    return method if method.startswith("/") else SERVICE + method


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
