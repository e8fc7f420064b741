"""The RPCs beside inference, each as its method's name, its request's bytes, and how to read the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from steelyard.client import answers
from steelyard.client.answers import ModelMetadata, ModelState, ModelStatistics
from steelyard.errors import InvalidRequest, SteelyardError
from steelyard.wire.generated import grpc_service as pb

SERVICE = "/inference.GRPCInferenceService/"
INFER = f"{SERVICE}ModelInfer"
STREAM_INFER = f"{SERVICE}ModelStreamInfer"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rpc(Generic[T]):
    """One call, ready to be sent."""

    method: str
    body: bytes
    decode: Callable[[bytes], T]


def server_ready() -> Rpc[bool]:
    return _rpc("ServerReady", {}, pb.ServerReadyResponse, lambda message: bool(message.ready))


def model_ready(model: str, version: str | int) -> Rpc[bool]:
    fields = _of_model(model, version)
    return _rpc("ModelReady", fields, pb.ModelReadyResponse, lambda message: bool(message.ready))


def metadata(model: str, version: str | int) -> Rpc[ModelMetadata]:
    fields = _of_model(model, version)
    return _rpc("ModelMetadata", fields, pb.ModelMetadataResponse, answers.model_metadata)


def config(model: str, version: str | int) -> Rpc[dict[str, Any]]:
    fields = _of_model(model, version)
    return _rpc("ModelConfig", fields, pb.ModelConfigResponse, _config)


def statistics(model: str, version: str | int) -> Rpc[tuple[ModelStatistics, ...]]:
    fields = _of_model(model, version)
    return _rpc("ModelStatistics", fields, pb.ModelStatisticsResponse, answers.model_statistics)


def index(ready: bool) -> Rpc[tuple[ModelState, ...]]:
    return _rpc("RepositoryIndex", {"ready": ready}, pb.RepositoryIndexResponse, answers.model_states)


def load(model: str) -> Rpc[None]:
    fields = {"model_name": model}
    return _rpc("RepositoryModelLoad", fields, pb.RepositoryModelLoadResponse, lambda message: None)


def unload(model: str) -> Rpc[None]:
    fields = {"model_name": model}
    return _rpc("RepositoryModelUnload", fields, pb.RepositoryModelUnloadResponse, lambda message: None)


def _of_model(model: str, version: str | int) -> dict[str, object]:
    return {"name": model, "version": str(version)}


def _rpc(name: str, fields: Mapping[str, object], answer: Any, decode: Callable[[Any], T]) -> Rpc[T]:
    try:
        body = getattr(pb, f"{name}Request")(**fields).SerializeToString()
    except (TypeError, ValueError) as exc:  # what protobuf says of values that are no text, or no UTF-8
        raise InvalidRequest(f"{name}: {exc}") from None

    def read(body: bytes) -> T:
        try:
            return decode(answer.FromString(body))
        except DecodeError as exc:
            raise SteelyardError(f"the answer is no {name}Response: {exc}") from None

    return Rpc(f"{SERVICE}{name}", body, read)


def _config(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(message.config, preserving_proto_field_name=True)
    return found
