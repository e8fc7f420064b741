"""What inference gives back: outputs as arrays, and which version, content and decision they come from."""

from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from steelyard.client.failures import Failure, error_of
from steelyard.client.tensors import Array, decode_tensor
from steelyard.errors import SteelyardError
from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.status import STREAM_DECISION_ID, STREAM_RETRY_AFTER_MS, STREAM_STATUS


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The answer to one request."""

    outputs: dict[str, Array]
    """By name, in the server's order; read-only. BYTES are objects (bytes), BF16 its bits as uint16."""
    datatypes: dict[str, str]
    """The protocol's name of each output's datatype."""
    model: str
    version: str
    """The version that answered."""
    digest: str
    """The content digest of that version, "sha256:..."; empty where the server is of another make."""
    decision_id: str
    """The server's own name for the request, a UUIDv7; empty where the server is of another make."""
    request_id: str
    """The caller's name for the request, echoed."""
    elapsed_ns: int
    """From before the request was encoded until the answer had arrived, waits between attempts included.
    The two ways over the network and the server's share cannot be told apart from here."""
    attempts: int
    """How often the request was sent."""
    parameters: dict[str, bool | int | str | float] = field(default_factory=dict)
    """What else the server says of its answer, such as `steelyard_rows_marked` and `steelyard_flags`."""

    def __getitem__(self, output: str) -> Array:
        return self.outputs[output]


@dataclass(frozen=True, slots=True, eq=False)
class StreamAnswer:
    """What became of one request of a stream: a result, or an error."""

    request_id: str
    """Empty where the server did not say whose error it is."""
    result: Result | None
    error: SteelyardError | None


def decode_response(body: bytes, elapsed_ns: int, attempts: int) -> Result:
    """The result in a serialized ModelInferResponse. Raises SteelyardError where it is none."""
    try:
        message = pb.ModelInferResponse.FromString(body)
    except DecodeError as exc:
        raise SteelyardError(f"the answer is no ModelInferResponse: {exc}") from None
    return _result(message, elapsed_ns, attempts)


def decode_stream_response(body: bytes, elapsed_ns_of: Callable[[str], int]) -> StreamAnswer:
    """The answer in a serialized ModelStreamInferResponse. Raises SteelyardError where it is none.

    elapsed_ns_of: how long ago the request of that id was sent.
    """
    try:
        message = pb.ModelStreamInferResponse.FromString(body)
    except DecodeError as exc:
        raise SteelyardError(f"the answer is no ModelStreamInferResponse: {exc}") from None
    request_id = message.infer_response.id
    elapsed_ns = elapsed_ns_of(request_id)
    if message.error_message:
        return StreamAnswer(request_id, None, _error(message))
    return StreamAnswer(request_id, _result(message.infer_response, elapsed_ns, 1), None)


def _result(message: pb.ModelInferResponse, elapsed_ns: int, attempts: int) -> Result:
    raws = list(message.raw_output_contents)
    outputs: dict[str, Array] = {}
    datatypes: dict[str, str] = {}
    # Each look at a field of a message costs more than what is done with it here.
    for number, tensor in enumerate(message.outputs):
        if number < len(raws):
            name, datatype = tensor.name, tensor.datatype
            outputs[name] = decode_tensor(name, datatype, tensor.shape, raws[number])
            datatypes[name] = datatype
    if len(raws) != len(message.outputs):
        raise SteelyardError(
            f"model {message.model_name!r}: the answer has {len(message.outputs)} outputs and "
            f"{len(raws)} raw contents"
        )
    parameters = _parameters(message)
    return Result(
        outputs=outputs,
        datatypes=datatypes,
        model=message.model_name,
        version=message.model_version,
        digest=str(parameters.pop("steelyard_model_digest", "")),
        decision_id=str(parameters.pop("steelyard_decision_id", "")),
        request_id=message.id,
        elapsed_ns=elapsed_ns,
        attempts=attempts,
        parameters=parameters,
    )


def _parameters(message: pb.ModelInferResponse) -> dict[str, bool | int | str | float]:
    """The answer's parameters that have a value."""
    found = {}
    for name, value in message.parameters.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is not None:
            found[name] = getattr(value, kind)
    return found


def _error(message: pb.ModelStreamInferResponse) -> SteelyardError:
    about = message.infer_response
    if STREAM_STATUS not in about.parameters:
        return SteelyardError(message.error_message)
    retry = None
    if STREAM_RETRY_AFTER_MS in about.parameters:
        retry = about.parameters[STREAM_RETRY_AFTER_MS].int64_param
    status = about.parameters[STREAM_STATUS].int64_param
    failure = Failure(status, message.error_message, retry, _text(about, STREAM_DECISION_ID) or None)
    return error_of(failure, "the stream")


def _text(message: pb.ModelInferResponse, parameter: str) -> str:
    return message.parameters[parameter].string_param if parameter in message.parameters else ""
