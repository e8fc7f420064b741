"""model.toml: how a model is served, and who owns it."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from steelyard.models.evidence import Evidence
from steelyard.models.governance import Governance
from steelyard.models.rollout import Rollout
from steelyard.models.table import Table, read_table
from steelyard.toml import Bytes

MODEL_MANIFEST = "model.toml"

# ONNX Runtime refuses longer keys of session configuration. Values are switches, sizes and paths.
MAX_OPTION_KEY_CHARS = 1024
MAX_OPTION_VALUE_CHARS = 4096

# Below it the examples would keep a thread of the server busy.
MIN_GOLDEN_INTERVAL_S = 0.01

_DEVICE = re.compile(r"auto|cpu|(cuda|tensorrt)(:[0-9]{1,3})?", re.ASCII)


def _device(value: object) -> object:
    if not isinstance(value, str):
        return value
    if _DEVICE.fullmatch(value) is None:
        raise ValueError("expected auto, cpu, cuda:N or tensorrt:N")
    return f"{value}:0" if value in ("cuda", "tensorrt") else value


def _auto_or_bool(value: object) -> object:
    if value != "auto" and not isinstance(value, bool):
        raise ValueError("expected true, false or 'auto'")
    return value


def _runs(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


Positive = Annotated[int, Field(ge=1)]


class BatchTolerance(Table):
    """How far a row may move among others and count as the same: |a - b| <= absolute + relative * |b|."""

    absolute: float = Field(
        default=1e-4,
        ge=0,
        allow_inf_nan=False,
        description="Part of the tolerance that is the same for all values.",
    )
    relative: float = Field(
        default=1e-3,
        ge=0,
        allow_inf_nan=False,
        description="Part of the tolerance that grows with the value.",
    )


class VersionPolicy(Table):
    """Which versions are served: exactly one of the three."""

    latest: int | None = Field(default=None, ge=1, le=1000, description="The so many highest versions.")
    all: bool | None = Field(default=None, description="Every version.")
    list: tuple[Positive, ...] | None = Field(
        default=None, min_length=1, max_length=1000, strict=False, description="These versions."
    )

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        given = [key for key in ("latest", "all", "list") if getattr(self, key) is not None]
        if self.all is False:
            raise ValueError("all: expected true, got false")
        if len(given) != 1:
            came = " and ".join(given) or "none"
            raise ValueError(f"expected exactly one of latest, all and list, got {came}")
        return self


class SessionOptions(Table):
    """What ONNX Runtime is told when it makes the session."""

    graph_optimization: Literal["all", "extended", "basic", "off"] = Field(
        default="all", description="How far ONNX Runtime rewrites the graph at load."
    )
    extra: dict[
        Annotated[str, Field(min_length=1, max_length=MAX_OPTION_KEY_CHARS)],
        Annotated[str, Field(max_length=MAX_OPTION_VALUE_CHARS)],
    ] = Field(default={}, max_length=64, description="Session configuration entries, handed on as they are.")


class GoldenRuns(Table):
    """`[serving.golden]` of model.toml: when golden examples are run, and what follows where one fails."""

    at_load: Literal["refuse", "report"] = Field(
        default="refuse",
        description="refuse: a version with an example that fails is not served; report: it is, and is said to fail.",
    )
    # A run takes what a request takes, and 1,500 versions at this interval are five runs a second.
    interval_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds from one round of the examples to the next while the version serves; 0: none.",
    )
    # Examples are files that anyone who writes to the repository can change, and every replica reads the same ones:
    # a wrong example would take all of them out at once.
    while_failing: Literal["report", "not_serving"] = Field(
        default="report",
        description="report: metric and log; not_serving: health and ModelReady say no as well, until all pass again.",
    )

    @field_validator("interval_s")
    @classmethod
    def _not_at_once(cls, value: float) -> float:
        if 0 < value < MIN_GOLDEN_INTERVAL_S:
            raise ValueError(f"expected 0 or at least {MIN_GOLDEN_INTERVAL_S}, got {value}")
        return value


class Serving(Table):
    """`[serving]` of model.toml."""

    device: Annotated[str, BeforeValidator(_device)] = Field(
        default="auto",
        description="Where the model runs: auto, cpu, cuda:N or tensorrt:N.",
    )
    instances: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Runs of the one session that may overlap; not given: chosen by the server.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Intra-op threads of one run; not given: chosen by the server.",
    )
    cuda_graphs: Annotated[Literal["auto"] | bool, BeforeValidator(_auto_or_bool)] = Field(
        default="auto",
        description='"auto": replay CUDA graphs where the model lets itself be captured; true: refuse it where not; '
        "false: never.",
    )
    # A cap, not a target: the batcher goes by measured cost and may well stop before it.
    max_batch: int = Field(
        default=64,
        ge=1,
        le=65_536,
        description="Most rows that requests are put together to; a single request with more runs whole, by itself.",
    )
    max_queue_delay_us: int = Field(
        default=0,
        ge=0,
        le=60_000_000,
        description="How long an idle session waits for a batch to fill, in microseconds.",
    )
    preferred_batch_sizes: tuple[Positive, ...] = Field(
        default=(),
        max_length=64,
        strict=False,
        description="Batch sizes to cut at when more rows wait; ascending, none above max_batch.",
    )
    batching: Annotated[Literal["auto"] | bool, BeforeValidator(_auto_or_bool)] = Field(
        default="auto",
        description='"auto": batch if the check at load finds rows independent; true and false overrule it.',
    )
    batch_tolerance: BatchTolerance = Field(
        default=BatchTolerance(),
        description="How far a row may move in a batch before rows count as dependent.",
    )
    # At 100,000 answers a second a queue this long is 80 ms of work: who comes later is better told at once.
    # What the server keeps beside a waiting request's tensors is about a kilobyte, so it is 8 MiB of that.
    max_queue_requests: int = Field(
        default=8192, ge=1, le=10_000_000, description="Requests that may wait; one more is refused."
    )
    # Four messages of the largest default size; a thousand models cannot all reach it, as the server's own
    # bound is lower.
    max_queue_bytes: Bytes = Field(
        default=256 << 20,
        ge=1,
        le=1 << 40,
        description="Bytes of tensors that may wait; a request that would go over is refused.",
    )
    default_timeout_ms: int = Field(
        default=0,
        ge=0,
        le=86_400_000,
        description="Timeout of a request that brings none, in milliseconds; 0: none.",
    )
    warmup: Annotated[int, BeforeValidator(_runs)] = Field(
        default=1, ge=0, le=1000, description="Runs before a version is ready; true is 1 and false is 0."
    )
    versions: VersionPolicy = Field(
        default=VersionPolicy(latest=1),
        description="Which versions are served: { latest = N }, { all = true } or { list = [..] }.",
    )
    session_options: SessionOptions = Field(
        default=SessionOptions(), description="What ONNX Runtime is told about the session."
    )
    golden: GoldenRuns = Field(
        default=GoldenRuns(), description="When golden examples are run, and what follows where one fails."
    )

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        sizes = self.preferred_batch_sizes
        if list(sizes) != sorted(set(sizes)):
            raise ValueError(f"preferred_batch_sizes: expected ascending sizes, each once, got {list(sizes)}")
        if sizes and sizes[-1] > self.max_batch:
            raise ValueError(
                f"preferred_batch_sizes: expected none above max_batch = {self.max_batch}, got {sizes[-1]}"
            )
        return self


class ModelManifest(Table):
    """model.toml."""

    serving: Serving = Serving()
    rollout: Rollout = Rollout()
    governance: Governance = Governance()
    evidence: Evidence = Evidence()


def read_model_manifest(path: Path) -> ModelManifest:
    """model.toml at `path`, or the defaults where no file is. Raises ManifestError."""
    return read_table(path, ModelManifest)


def unowned(manifest: ModelManifest) -> list[str]:
    """The keys of `[governance]` that the production profile insists on and that are not there."""
    return manifest.governance.missing
