"""Labels and drills as Prometheus metrics."""

from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from steelyard.supervisor.record import Record


class RolloutCollector(Collector):
    """Reads where things stand at each scrape."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        version = GaugeMetricFamily(
            "steelyard_label_version", "The version that a label stands for.", labels=("model", "label")
        )
        since = GaugeMetricFamily(
            "steelyard_label_moved_timestamp_seconds",
            "When a label came to stand where it stands.",
            labels=("model", "label"),
        )
        drilled = GaugeMetricFamily(
            "steelyard_rollback_drill_age_seconds",
            "How long ago the last rollback drill was that went well.",
            labels=("model",),
        )
        now_unix_ms = self._record.now_unix_ms()
        for model in self._record.models:
            known = self._record.labels(model)
            for name, label in sorted(known.labels.items()):
                version.add_metric([model, name], label.holder.number)
                since.add_metric([model, name], label.since_unix_ms / 1e3)
            if known.drilled_unix_ms:
                drilled.add_metric([model], (now_unix_ms - known.drilled_unix_ms) / 1e3)
        return iter((version, since, drilled))
