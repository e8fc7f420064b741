"""The server's own account of the requests: its stage histograms and batch sizes, read from /metrics."""

import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

STAGES = ("decode", "queue", "assemble", "execute", "encode", "total")


@dataclass(frozen=True, slots=True)
class StageHistogram:
    """How long answered requests were in one stage."""

    stage: str
    count: int
    sum_s: float
    bounds_s: tuple[float, ...]
    """Upper bounds of the buckets, ascending; what lies above the last is counted in `count` only."""
    cumulative: tuple[int, ...]
    """Requests at or below each bound."""

    @property
    def mean_ms(self) -> float:
        """The mean, which is exact."""
        return self.sum_s / self.count * 1e3 if self.count else 0.0

    def counts(self) -> tuple[int, ...]:
        """Requests in each bucket, without those above."""
        return tuple(
            upper - lower for lower, upper in zip((0, *self.cumulative), self.cumulative, strict=False)
        )

    def percentile_ms(self, percentile: float) -> float:
        """As near as the buckets tell: values are taken as evenly spread within one, an octave wide here."""
        rank = self.count * percentile / 100
        lower_s, below = 0.0, 0
        for bound_s, cumulative in zip(self.bounds_s, self.cumulative, strict=True):
            if cumulative >= rank and cumulative > below:
                share = (rank - below) / (cumulative - below)
                return (lower_s + share * (bound_s - lower_s)) * 1e3
            lower_s, below = bound_s, cumulative
        return lower_s * 1e3


@dataclass(frozen=True, slots=True)
class VersionAccount:
    """What the server counted for one version."""

    stages: tuple[StageHistogram, ...]
    rows: int
    batches: int

    @property
    def mean_batch_rows(self) -> float:
        """Rows in a batch, on average."""
        return self.rows / self.batches if self.batches else 0.0


def fetch_metrics(http_address: str) -> str:
    """The page of the server at `http_address`."""
    with urllib.request.urlopen(f"http://{http_address}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def account_of(page: str, model: str, version: str) -> VersionAccount:
    """What a page of /metrics says of one version; all zero where the version has not been asked."""
    wanted = {"model": model, "version": version}
    samples: dict[str, list[Sample]] = defaultdict(list)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if wanted.items() <= sample.labels.items():
                samples[sample.name].append(sample)

    def total(name: str) -> int:
        return int(sum(sample.value for sample in samples[name]))

    return VersionAccount(
        stages=tuple(_stage(stage, samples) for stage in STAGES),
        rows=total("steelyard_rows_total"),
        batches=total("steelyard_batches_total"),
    )


def _stage(stage: str, samples: dict[str, list[Sample]]) -> StageHistogram:
    def of(suffix: str) -> Iterable[Sample]:
        named = samples[f"steelyard_request_stage_seconds_{suffix}"]
        return (sample for sample in named if sample.labels["stage"] == stage)

    buckets = sorted((float(sample.labels["le"]), int(sample.value)) for sample in of("bucket"))
    bounded = [(bound, count) for bound, count in buckets if bound != float("inf")]
    return StageHistogram(
        stage=stage,
        count=int(sum(sample.value for sample in of("count"))),
        sum_s=sum(sample.value for sample in of("sum")),
        bounds_s=tuple(bound for bound, _ in bounded),
        cumulative=tuple(count for _, count in bounded),
    )
