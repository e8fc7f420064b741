"""Open Inference Protocol messages, straight between bytes and tensors; `wire.plain` is the twin."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

Parameter = bool | int | str | float

@final
class Tensor:
    """An input of a request, or an output of an answer; its content is also given by the buffer protocol, read-only."""

    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def parameters(self) -> dict[str, Parameter]: ...
    @property
    def data(self) -> memoryview: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class RequestedOutput:
    """An output that the caller asked for."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> dict[str, Parameter]: ...

@final
class InferRequest:
    """A decoded ModelInferRequest."""

    @property
    def model_name(self) -> str: ...
    @property
    def model_version(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def parameters(self) -> dict[str, Parameter]: ...
    @property
    def inputs(self) -> list[Tensor]: ...
    @property
    def outputs(self) -> list[RequestedOutput]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def body_bytes(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...

@final
class InferResponse:
    """A decoded ModelInferResponse."""

    @property
    def model_name(self) -> str: ...
    @property
    def model_version(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def parameters(self) -> dict[str, Parameter]: ...
    @property
    def outputs(self) -> list[Tensor]: ...

@final
class Signature:
    """The inputs of a version: name, datatype and dimensions of each, -1 for a dimension of any size."""

    def __init__(self, inputs: Iterable[tuple[str, str, Sequence[int]]], batched: bool) -> None: ...
    def bind(self, request: InferRequest) -> tuple[int, tuple[int, ...]] | None: ...

@final
class ResponseEncoder:
    """Writes the responses of a version."""

    def __init__(
        self,
        model_name: str,
        model_version: str,
        digest: str,
        outputs: Iterable[tuple[str, str]],
        notices: Iterable[tuple[str, str]] = (),
    ) -> None: ...
    def encode_batch(
        self,
        requests: list[InferRequest],
        rows: list[int],
        decision_ids: list[str],
        arrays: list[Any],
        shapes: list[tuple[int, ...]],
        batched: bool,
    ) -> list[bytes]: ...

def decode_request(body: bytes) -> InferRequest: ...
def decode_response(body: bytes) -> InferResponse: ...
def decode_stream_response(body: bytes) -> tuple[str, InferResponse]: ...
def encode_request(
    model_name: str,
    model_version: str,
    id: str,
    parameters: Mapping[str, Parameter],
    inputs: Iterable[tuple[str, str, Sequence[int], Any]],
    outputs: Iterable[tuple[str, Mapping[str, Parameter]]],
) -> bytes: ...
def encode_response(
    model_name: str,
    model_version: str,
    id: str,
    parameters: Mapping[str, Parameter],
    outputs: Iterable[tuple[str, str, Sequence[int], Any]],
) -> bytes: ...
def wrap_stream_response(body: bytes) -> bytes: ...
def stream_error(message: str, about: bytes = b"") -> bytes: ...
def encode_bytes_tensor(values: Iterable[bytes | str]) -> bytes: ...
def decode_bytes_tensor(data: Any) -> list[bytes]: ...
