"""Requests to measure with: what the caller gives, else golden examples, else made-up rows that the server takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from steelyard.client import ModelMetadata, Tensor
from steelyard.client.requests import Request, encode_request
from steelyard.client.tensors import Array
from steelyard.errors import LoadFailed, ManifestError
from steelyard.models.golden import golden_paths, read_example
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.runtime.samples import candidates
from steelyard.wire.generated import grpc_service as pb

Inputs = Mapping[str, Array | Tensor]
Refused = Callable[[bytes], str]
"""Asks the server for one answer; why there was none, or "" where there was."""

# Different rows, so that no cache makes the model look faster than it is; more would only fill memory.
MADE_UP = 8
EXAMPLES = 64

# Of all choices of made-up inputs; each is asked of the server once.
TRIED = 60


@dataclass(frozen=True, slots=True)
class Requests:
    """Serialized requests that can be sent to any candidate."""

    source: str
    """Where they come from, in words."""
    messages: tuple[bytes, ...]

    def bodies(self, model: str) -> list[bytes]:
        """As requests to `model`."""
        made = []
        for message in self.messages:
            request = pb.ModelInferRequest.FromString(message)
            request.model_name = model
            request.model_version = ""
            made.append(request.SerializeToString())
        return made


def given(inputs: Sequence[Inputs], source: str) -> Requests:
    """Requests with these inputs."""
    return Requests(source, tuple(_message(one) for one in inputs))


def golden(version: Path) -> Requests | None:
    """The requests of the version's golden examples; None where there are none. Raises ManifestError."""
    messages = []
    for path in golden_paths(version)[:EXAMPLES]:
        message = read_example(path).request
        try:
            pb.ModelInferRequest.FromString(message)
        except DecodeError as error:
            raise ManifestError(f"{path}: its request is no ModelInferRequest: {error}") from None
        messages.append(message)
    return Requests(f"{len(messages)} golden examples", tuple(messages)) if messages else None


def made_up(metadata: ModelMetadata, model: str, refused: Refused) -> Requests:
    """Requests of one made-up row each that the server answers. Raises LoadFailed where it answers none."""
    inputs = tuple(TensorSpec(t.name, t.datatype, t.shape) for t in metadata.inputs)
    batched = bool(inputs) and all(t.dims and t.dims[0] == -1 for t in inputs)
    spec = ModelSpec(inputs, (), batched)
    reason = "it has no inputs"
    for place, _ in zip(range(TRIED), candidates(spec, 1), strict=False):
        requests = Requests(f"{MADE_UP} made-up requests", tuple(_made_up(spec, place)))
        reason = refused(requests.bodies(model)[0])
        if not reason:
            return requests
    raise LoadFailed(
        f"no input can be made up that the model takes ({reason}): give some with --input, or record golden examples"
    )


def _made_up(spec: ModelSpec, place: int) -> list[bytes]:
    """The choice of inputs at `place`, with several seeds."""
    messages = []
    for seed in range(MADE_UP):
        for at, rows in enumerate(candidates(spec, 1, seed)):
            if at == place:
                tensors = {
                    t.name: Tensor(rows[t.name], "BF16") if t.datatype == "BF16" else rows[t.name]
                    for t in spec.inputs
                }
                messages.append(_message(tensors))
                break
    return messages


def _message(inputs: Inputs) -> bytes:
    return encode_request(Request(model="m", inputs=inputs))
