"""What inference gives back: outputs as arrays, and which version, content and decision they come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from steelyard import wire
from steelyard.client.failures import Failure, error_of
from steelyard.client.requests import Parameter
from steelyard.client.tensors import Array, decode_tensor
from steelyard.errors import SteelyardError
from steelyard.wire.status import STREAM_DECISION_ID, STREAM_RETRY_AFTER_MS, STREAM_STATUS


# Frozen, it would take three times as long to make, a microsecond and a half of every answer.
@dataclass(slots=True, eq=False)
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
    parameters: dict[str, Parameter] = field(default_factory=dict)
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
    return _result(wire.decode_response(body), elapsed_ns, attempts)


def decode_stream_response(body: bytes, elapsed_ns_of: Callable[[str], int]) -> StreamAnswer:
    """The answer in a serialized ModelStreamInferResponse. Raises SteelyardError where it is none.

    elapsed_ns_of: how long ago the request of that id was sent.
    """
    message, response = wire.decode_stream_response(body)
    elapsed_ns = elapsed_ns_of(response.id)
    if message:
        return StreamAnswer(response.id, None, _error(message, response.parameters))
    return StreamAnswer(response.id, _result(response, elapsed_ns, 1), None)


def _result(response: wire.InferResponse, elapsed_ns: int, attempts: int) -> Result:
    outputs: dict[str, Array] = {}
    datatypes: dict[str, str] = {}
    for tensor in response.outputs:
        name = tensor.name
        outputs[name] = decode_tensor(tensor)
        datatypes[name] = tensor.datatype
    parameters = response.parameters
    return Result(
        outputs=outputs,
        datatypes=datatypes,
        model=response.model_name,
        version=response.model_version,
        digest=str(parameters.pop("steelyard_model_digest", "")),
        decision_id=str(parameters.pop("steelyard_decision_id", "")),
        request_id=response.id,
        elapsed_ns=elapsed_ns,
        attempts=attempts,
        parameters=parameters,
    )


def _error(message: str, parameters: Mapping[str, Parameter]) -> SteelyardError:
    status = parameters.get(STREAM_STATUS)
    if not isinstance(status, int):
        return SteelyardError(message)
    retry = parameters.get(STREAM_RETRY_AFTER_MS)
    failure = Failure(
        code=status,
        message=message,
        pushback_ms=retry if isinstance(retry, int) else None,
        decision_id=str(parameters.get(STREAM_DECISION_ID, "")) or None,
    )
    return error_of(failure, "the stream")
