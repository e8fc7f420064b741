"""What became of the records of decisions, as metrics: of the supervisor alone, which needs what a worker does not."""

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from steelyard.observe.decision_counts import DecisionCounts


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
