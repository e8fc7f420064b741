"""The inference service's RPCs other than inference: liveness, metadata, configuration, statistics, repository."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from steelyard import __version__
from steelyard.errors import InvalidRequest, Unavailable, VersionNotLoaded
from steelyard.models.golden import show_failing
from steelyard.models.spec import TensorSpec
from steelyard.observe.segment import SegmentReader
from steelyard.observe.statistics import Duration, model_statistics
from steelyard.scheduling.cost import shown_costs
from steelyard.serving.catalog import Catalog
from steelyard.serving.lifecycle import Lifecycle
from steelyard.serving.loader import Loader
from steelyard.serving.messages import serialized
from steelyard.serving.methods import Methods
from steelyard.serving.version import ServedVersion
from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.generated import model_config as config_pb

SERVICE = "/inference.GRPCInferenceService/"
SERVER_NAME = "steelyard"
PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"

# What this server does of what clients ask about by name.
EXTENSIONS = (
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
)


class Repository(Protocol):
    """Who loads and unloads models by request."""

    async def load(self, name: str) -> None:
        """Loads or reloads a model. Raises what kept it from being ready."""

    async def unload(self, name: str) -> None:
        """Unloads a model and keeps it out. Raises ModelNotFound."""


class Control:
    """Handlers over what is served; each takes and gives serialized messages."""

    def __init__(
        self,
        catalog: Catalog,
        loader: Loader,
        lifecycle: Lifecycle,
        segment: SegmentReader,
        others: Sequence[SegmentReader] = (),
        repository: Repository | None = None,
    ) -> None:
        """others: segments of further workers, which count with ours. repository: who loads and unloads by request;
        None: `loader`, where there are no others."""
        self._catalog = catalog
        self._loader = loader
        self._lifecycle = lifecycle
        self._segment = segment
        self._others = others
        self._repository = repository or loader

    def register(self, methods: Methods) -> None:
        """Puts the handlers into the table."""
        handlers: dict[str, tuple[Any, Callable[[Any], Awaitable[Any]]]] = {
            "ServerLive": (pb.ServerLiveRequest, self._server_live),
            "ServerReady": (pb.ServerReadyRequest, self._server_ready),
            "ModelReady": (pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": (pb.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": (pb.ModelMetadataRequest, self._model_metadata),
            "ModelConfig": (pb.ModelConfigRequest, self._model_config),
            "ModelStatistics": (pb.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": (pb.RepositoryIndexRequest, self._repository_index),
            "RepositoryModelLoad": (pb.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": (pb.RepositoryModelUnloadRequest, self._unload),
        }
        for name, (message, handle) in handlers.items():
            methods.unary[SERVICE + name] = serialized(message, handle)

    async def _server_live(self, request: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, request: Any) -> Any:
        return pb.ServerReadyResponse(ready=self._lifecycle.is_ready)

    async def _model_ready(self, request: Any) -> Any:
        try:
            served = self._catalog.route(request.name, request.version)
        except (Unavailable, VersionNotLoaded):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._lifecycle.is_ready and self._catalog.is_sound(served))

    async def _server_metadata(self, request: Any) -> Any:
        return pb.ServerMetadataResponse(name=SERVER_NAME, version=__version__, extensions=EXTENSIONS)

    async def _model_metadata(self, request: Any) -> Any:
        served = self._catalog.route(request.name, request.version)
        entry = self._catalog.model(request.name)
        versions = sorted(known.number for known in entry.versions.values() if known.served is not None)
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[str(number) for number in versions],
            platform=PLATFORM,
            inputs=[_tensor_metadata(tensor) for tensor in served.offered.inputs],
            outputs=[_tensor_metadata(tensor) for tensor in served.offered.outputs],
            properties={
                "digest": served.digest,
                "device": served.device,
                "batched": str(served.batching.allowed).lower(),
                "batching_reason": served.batching.reason,
                "batch_cost": json.dumps(shown_costs(served.lane.cost)),
                "labels": ", ".join(
                    sorted(label for label, version in entry.labelled().items() if version is served)
                ),
            },
        )

    async def _model_config(self, request: Any) -> Any:
        return pb.ModelConfigResponse(config=model_config(self._catalog.route(request.name, request.version)))

    async def _model_statistics(self, request: Any) -> Any:
        asked: int | None = None
        if request.name:
            if request.version:
                asked = self._catalog.route(request.name, request.version).number
            entries = [self._catalog.model(request.name)]
        else:
            entries = list(self._catalog)
        response = pb.ModelStatisticsResponse()
        for entry in entries:
            for number, known in sorted(entry.versions.items()):
                if known.served is None or asked not in (None, number):
                    continue
                # Versions that found no slot of their own share one, under a name that nobody asked for.
                counts = replace(
                    self._segment.slot(known.served.slot.index), model=entry.name, version=str(number)
                )
                for other in self._others:
                    if (found := other.find(entry.name, str(number))) is not None:
                        counts += found
                response.model_stats.append(_statistics_message(model_statistics(counts)))
            # A thousand models are copied one by one, and requests are served in between.
            await asyncio.sleep(0)
        return response

    async def _repository_index(self, request: Any) -> Any:
        response = pb.RepositoryIndexResponse()
        for entry in self._catalog:
            if not entry.versions and not request.ready:
                response.models.add(name=entry.name, state="UNAVAILABLE", reason=entry.reason)
            for number, known in sorted(entry.versions.items()):
                if request.ready and known.served is None:
                    continue
                state = (
                    "READY"
                    if known.served is not None
                    else "LOADING"
                    if known.state.name == "LOADING"
                    else "UNAVAILABLE"
                )
                reason = known.reason or entry.reason
                if not reason and known.served is not None:
                    reason = self._failing(known.served)
                response.models.add(name=entry.name, version=str(number), state=state, reason=reason)
        if not request.ready:
            for problem in self._loader.listing.problems:
                if problem.path.name not in self._catalog and problem.path.parent == self._loader.root:
                    response.models.add(name=problem.path.name, state="UNAVAILABLE", reason=problem.message)
        return response

    def _failing(self, version: ServedVersion) -> str:
        if version.failing:
            return f"golden examples fail: {show_failing(version.failing)}"
        return "golden examples fail in another worker" if self._catalog.fails_elsewhere(version) else ""

    async def _load(self, request: Any) -> Any:
        if request.parameters:
            raise InvalidRequest(
                "RepositoryModelLoad: parameters are not taken, a model's configuration is its manifest; "
                f"got {', '.join(sorted(request.parameters)[:5])}"
            )
        await self._repository.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def _unload(self, request: Any) -> Any:
        await self._repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()


def _tensor_metadata(tensor: TensorSpec) -> Any:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=tensor.dims
    )


def model_config(served: ServedVersion) -> Any:
    """The version as a ModelConfig: dimensions are without the batch axis where `max_batch_size` is above 0."""
    batched = served.spec.batched and served.batching.allowed
    policy = served.lane.policy
    config = config_pb.ModelConfig(
        name=served.model,
        platform=PLATFORM,
        backend=BACKEND,
        default_model_filename="model.onnx",
        max_batch_size=policy.max_batch if batched else 0,
    )
    versions = served.manifest.serving.versions
    if versions.latest is not None:
        config.version_policy.latest.num_versions = versions.latest
    elif versions.list is not None:
        config.version_policy.specific.versions.extend(versions.list)
    else:
        config.version_policy.all.SetInParent()
    for tensor in served.offered.inputs:
        config.input.add(
            name=tensor.name,
            data_type=_config_type(tensor),
            dims=tensor.dims[1:] if batched else tensor.dims,
            optional=tensor.name in served.takes.optional,
        )
    for tensor in served.offered.outputs:
        config.output.add(
            name=tensor.name, data_type=_config_type(tensor), dims=tensor.dims[1:] if batched else tensor.dims
        )
    if batched:
        config.dynamic_batching.max_queue_delay_microseconds = policy.max_queue_delay_ns // 1000
        config.dynamic_batching.preferred_batch_size.extend(policy.preferred)
    kind = (
        config_pb.ModelInstanceGroup.KIND_CPU
        if served.device == "cpu"
        else config_pb.ModelInstanceGroup.KIND_GPU
    )
    config.instance_group.add(name=served.device, count=policy.instances, kind=kind)
    return config


def _config_type(tensor: TensorSpec) -> int:
    name = "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"
    number: int = config_pb.DataType.Value(name)
    return number


def _duration(duration: Duration) -> Any:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)


def _statistics_message(found: Any) -> Any:
    return pb.ModelStatistics(
        name=found.name,
        version=found.version,
        last_inference=found.last_inference_unix_ms,
        inference_count=found.inference_count,
        execution_count=found.execution_count,
        inference_stats=pb.InferStatistics(
            success=_duration(found.success),
            fail=_duration(found.fail),
            queue=_duration(found.queue),
            compute_input=_duration(found.compute_input),
            compute_infer=_duration(found.compute_infer),
            compute_output=_duration(found.compute_output),
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=batch.batch_size,
                compute_input=_duration(batch.compute_input),
                compute_infer=_duration(batch.compute_infer),
                compute_output=_duration(batch.compute_output),
            )
            for batch in found.batch_stats
        ],
    )
