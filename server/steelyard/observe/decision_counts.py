"""What became of the records of decisions, as a worker's segment counts it, and as metrics."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from steelyard.observe.layout import Header


@dataclass(frozen=True, slots=True)
class DecisionCounts:
    """Each request that came to an end in a worker, or was in one that died, is one of the first five."""

    recorded: int = 0
    """Put into the ring."""
    sampled_out: int = 0
    dropped: int = 0
    """Without room in the ring; a gap in the journal."""
    off: int = 0
    """Of models that record none."""
    taken_along: int = 0
    """By a process that died; a gap in the journal."""
    written: int = 0
    """Of the recorded: in a file."""
    written_bytes: int = 0
    synced: int = 0
    """Of the written: on disk."""
    unwritten: int = 0
    """Of the recorded: what no file would take; a gap in the journal."""
    waiting_bytes: int = 0
    """In the ring."""

    @property
    def accounted(self) -> int:
        """Requests of which it is known what became of their record."""
        return self.recorded + self.sampled_out + self.dropped + self.off + self.taken_along

    def __add__(self, other: "DecisionCounts") -> "DecisionCounts":
        return DecisionCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def read_counts(header: Sequence[int]) -> DecisionCounts:
    """The counts in the words of a segment's header."""
    return DecisionCounts(
        recorded=header[Header.RECORDED],
        sampled_out=header[Header.SAMPLED_OUT],
        dropped=header[Header.DROPPED],
        off=header[Header.OFF],
        taken_along=header[Header.TAKEN_ALONG],
        written=header[Header.WRITTEN],
        written_bytes=header[Header.WRITTEN_BYTES],
        synced=header[Header.SYNCED],
        unwritten=header[Header.UNWRITTEN],
        waiting_bytes=max(0, header[Header.RING_HEAD] - header[Header.RING_TAIL]),
    )


def decision_metrics(workers: Iterable[tuple[str, DecisionCounts]]) -> Iterator[Metric]:
    """Metrics of each worker's counts, by its number."""
    decisions = CounterMetricFamily(
        "steelyard_decisions",
        "Requests that came to an end, by what became of their record: in the journal's ring (recorded), left out by "
        "sampling (sampled_out), without room in the ring (dropped), of a model that records none (off), in a "
        "worker that died (taken_along). Those are all. Of the recorded: what no file would take (unwritten).",
        labels=("worker", "record"),
    )
    written = CounterMetricFamily(
        "steelyard_journal_records",
        "Records that are in a file of the journal (written), and on disk (synced).",
        labels=("worker", "state"),
    )
    size = CounterMetricFamily(
        "steelyard_journal_bytes", "Bytes of records in files of the journal.", labels=("worker",)
    )
    waiting = GaugeMetricFamily(
        "steelyard_journal_waiting_bytes",
        "Bytes of records that wait to be written; at most 8 MiB a worker.",
        labels=("worker",),
    )
    for worker, counts in workers:
        for fate in ("recorded", "sampled_out", "dropped", "off", "taken_along", "unwritten"):
            decisions.add_metric([worker, fate], getattr(counts, fate))
        written.add_metric([worker, "written"], counts.written)
        written.add_metric([worker, "synced"], counts.synced)
        size.add_metric([worker], counts.written_bytes)
        waiting.add_metric([worker], counts.waiting_bytes)
    yield from (decisions, written, size, waiting)
