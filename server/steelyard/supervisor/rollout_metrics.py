"""Labels and drills as Prometheus metrics."""

from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from steelyard.clock import Clock
from steelyard.supervisor.rollouts import Rollouts


class RolloutCollector(Collector):
    """Reads where things stand at each scrape."""

    def __init__(self, rollouts: Rollouts, clock: Clock) -> None:
        self._rollouts = rollouts
        self._clock = clock

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
        now_unix_ms = self._clock.unix_ns() // 1_000_000
        found = self._rollouts.labels()
        for model, label in found:
            version.add_metric([model, label.name], label.holder.number)
            since.add_metric([model, label.name], label.since_unix_ms / 1e3)
        for model in dict.fromkeys(model for model, _ in found):
            if drilled_unix_ms := self._rollouts.of(model).drilled_unix_ms:
                drilled.add_metric([model], (now_unix_ms - drilled_unix_ms) / 1e3)
        return iter((version, since, drilled))
