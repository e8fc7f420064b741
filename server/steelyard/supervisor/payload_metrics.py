"""What became of requests and answers that were chosen to be kept, as Prometheus metrics."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from steelyard.supervisor.payload_counts import OUTCOMES, WAITING, PayloadCounts


class PayloadMetrics(Collector):
    """Reads the counts at each scrape."""

    def __init__(self, counts: PayloadCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        payloads = CounterMetricFamily(
            "steelyard_payloads",
            "Requests and answers that were chosen to be kept, by what became of them.",
            labels=("model", "outcome"),
        )
        waiting = GaugeMetricFamily(
            "steelyard_payloads_waiting_bytes", "Bytes of payloads that wait for the disk.", labels=("model",)
        )
        for model, counts in self._counts.all().items():
            for outcome in OUTCOMES:
                payloads.add_metric([model, outcome], counts[outcome])
            waiting.add_metric([model], counts[WAITING])
        return iter((payloads, waiting))
