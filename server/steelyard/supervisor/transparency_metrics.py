"""The transparency log and its audits as Prometheus metrics."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from steelyard.clock import Clock
from steelyard.errors import EvidenceError
from steelyard.evidence.audited import last_audit
from steelyard.supervisor.transparency import Transparency


class TransparencyCollector(Collector):
    """Reads where things stand at each scrape."""

    def __init__(self, transparency: Transparency, data: Path, clock: Clock) -> None:
        self._transparency = transparency
        self._data = data
        self._clock = clock

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        if not self._transparency.is_on:
            return
        size = GaugeMetricFamily("steelyard_tlog_entries", "Entries that the transparency log has.")
        # A log that cannot be read has no size, and the other metrics all the same.
        with contextlib.suppress(EvidenceError):
            size.add_metric([], self._transparency.size)
        waiting = GaugeMetricFamily(
            "steelyard_tlog_waiting_events", "Events that are not in the transparency log yet."
        )
        waiting.add_metric([], self._transparency.waiting)
        failures = CounterMetricFamily(
            "steelyard_tlog_failures", "Appends to the transparency log that the disk did not take."
        )
        failures.add_metric([], self._transparency.failures)
        yield from (size, waiting, failures)
        last = last_audit(self._data)
        if last is None:
            return
        faults = GaugeMetricFamily("steelyard_audit_faults", "What the last audit of the whole found wrong.")
        faults.add_metric([], last.faults)
        yield faults
        if last.succeeded_unix_ms:
            age = GaugeMetricFamily(
                "steelyard_audit_age_seconds",
                "How long ago the last audit of the whole was that found nothing wrong.",
            )
            age.add_metric([], (self._clock.unix_ns() / 1e6 - last.succeeded_unix_ms) / 1e3)
            yield age
