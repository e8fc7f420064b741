"""What the server says of itself and its models, as plain records."""

from dataclasses import dataclass

from steelyard.wire.generated import grpc_service as pb


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or output as the model declares it."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """The batch axis included; -1 where a request chooses."""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model takes and gives."""

    name: str
    versions: tuple[str, ...]
    """Those that are ready, lowest first."""
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    properties: dict[str, str]
    """Of the version asked about: "digest", "batching" (whether or why not), "device"."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One version in the server's repository."""

    name: str
    version: str
    """Empty where the model has no version that could be served."""
    state: str
    """"READY", "LOADING" or "UNAVAILABLE"."""
    reason: str


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """Counts and times of one version since the server started; the server keeps sums, so these are means."""

    name: str
    version: str
    requests: int
    """Answered."""
    failures: int
    rows: int
    batches: int
    success_ns: int
    """Summed over the answered requests, from receipt to the answer."""
    queue_ns: int
    """Summed over the answered requests."""
    execute_ns: int
    """Summed over batches."""
    last_inference_unix_ms: int

    @property
    def mean_batch_rows(self) -> float | None:
        """Rows a batch; None where nothing ran."""
        return self.rows / self.batches if self.batches else None

    @property
    def mean_ms(self) -> float | None:
        """Milliseconds from receipt to answer; None where nothing was answered."""
        return self.success_ns / self.requests / 1e6 if self.requests else None


def model_metadata(message: pb.ModelMetadataResponse) -> ModelMetadata:
    """The record in the message."""
    return ModelMetadata(
        name=message.name,
        versions=tuple(message.versions),
        platform=message.platform,
        inputs=tuple(TensorMetadata(t.name, t.datatype, tuple(t.shape)) for t in message.inputs),
        outputs=tuple(TensorMetadata(t.name, t.datatype, tuple(t.shape)) for t in message.outputs),
        properties=dict(message.properties),
    )


def model_states(message: pb.RepositoryIndexResponse) -> tuple[ModelState, ...]:
    """The records in the message."""
    return tuple(ModelState(m.name, m.version, m.state, m.reason) for m in message.models)


def model_statistics(message: pb.ModelStatisticsResponse) -> tuple[ModelStatistics, ...]:
    """The records in the message."""
    return tuple(
        ModelStatistics(
            name=found.name,
            version=found.version,
            requests=found.inference_stats.success.count,
            failures=found.inference_stats.fail.count,
            rows=found.inference_count,
            batches=found.execution_count,
            success_ns=found.inference_stats.success.ns,
            queue_ns=found.inference_stats.queue.ns,
            execute_ns=found.inference_stats.compute_infer.ns,
            last_inference_unix_ms=found.last_inference,
        )
        for found in message.model_stats
    )
