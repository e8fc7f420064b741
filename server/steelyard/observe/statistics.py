"""The numbers behind ModelStatistics, from the same counters that /metrics shows."""

from dataclasses import dataclass

from steelyard.observe.layout import Stage
from steelyard.observe.segment import SlotCounts


@dataclass(frozen=True, slots=True)
class Duration:
    """How often, and how long altogether."""

    count: int
    ns: int


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The batches of one size in rows. Size 129 stands for all above 128."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """One version's numbers; `success`, `fail` and `queue` count requests, and so do the computes.

    `fail` counts refused requests too, as those who read these numbers expect; only requests that failed in
    execution have a duration.
    """

    name: str
    version: str
    last_inference_unix_ms: int
    inference_count: int
    execution_count: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    batch_stats: tuple[BatchStatistics, ...]


def model_statistics(counts: SlotCounts) -> ModelStatistics:
    """What the counters of one version say; rows in `inference_count`, batches in `execution_count`."""

    def duration(stage: Stage) -> Duration:
        histogram = counts.stages[stage]
        return Duration(histogram.count, histogram.sum_ns)

    return ModelStatistics(
        name=counts.model,
        version=counts.version,
        last_inference_unix_ms=counts.last_inference_unix_ms,
        inference_count=counts.rows,
        execution_count=counts.batches,
        success=duration(Stage.TOTAL),
        fail=Duration(counts.failed + counts.refused_total, counts.failed_ns),
        queue=duration(Stage.QUEUE),
        compute_input=duration(Stage.ASSEMBLE),
        compute_infer=duration(Stage.EXECUTE),
        compute_output=duration(Stage.ENCODE),
        batch_stats=tuple(
            BatchStatistics(
                size, Duration(count, input_ns), Duration(count, infer_ns), Duration(count, output_ns)
            )
            for size, (count, input_ns, infer_ns, output_ns) in enumerate(counts.batch_sizes.tolist())
            if count
        ),
    )
