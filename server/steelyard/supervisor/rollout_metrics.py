"""Labels, drills and canaries as Prometheus metrics."""

from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from steelyard.rollout.gate import Gate
from steelyard.supervisor.canaries import Canaries
from steelyard.supervisor.record import Record


class RolloutCollector(Collector):
    """Reads where things stand at each scrape."""

    def __init__(self, record: Record, canaries: Canaries) -> None:
        self._record = record
        self._canaries = canaries

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield from self._labels()
        yield from self._trials()

    def _trials(self) -> Iterator[Metric]:
        share = GaugeMetricFamily(
            "steelyard_canary_share",
            "The share of requests that the canary gets.",
            labels=("model", "version"),
        )
        requests = GaugeMetricFamily(
            "steelyard_canary_arm_requests",
            "Requests that ended in this step of the canary.",
            labels=("model", "arm"),
        )
        failed = GaugeMetricFamily(
            "steelyard_canary_arm_failed",
            "Requests that failed in this step of the canary.",
            labels=("model", "arm"),
        )
        gates = GateFamilies()
        for model, canary, weighing in self._canaries.running():
            share.add_metric([model, str(canary.candidate.number)], canary.share)
            for arm, (ended, bad) in weighing.counts.items():
                requests.add_metric([model, arm], ended)
                failed.add_metric([model, arm], bad)
            gates.add(model, str(canary.candidate.number), weighing.gate)
        return iter((share, requests, failed, gates.worse, gates.verdict))

    def _labels(self) -> Iterator[Metric]:
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


class GateFamilies:
    """What gates found at their last look."""

    def __init__(self) -> None:
        self.worse = GaugeMetricFamily(
            "steelyard_gate_worse",
            "How much worse the candidate is, at the last look.",
            labels=("model", "candidate", "guardrail", "bound"),
        )
        self.verdict = GaugeMetricFamily(
            "steelyard_gate_verdict",
            "1 for what the gate says now.",
            labels=("model", "candidate", "verdict"),
        )

    def add(self, model: str, candidate: str, gate: Gate) -> None:
        """Adds one gate; without a guardrail it says nothing."""
        if not gate.guardrails:
            return
        self.verdict.add_metric([model, candidate, gate.verdict.value], 1)
        if gate.path:
            for guardrail in gate.path[-1].guardrails:
                for bound in ("mean", "lower", "upper"):
                    labels = [model, candidate, guardrail.name, bound]
                    self.worse.add_metric(labels, getattr(guardrail, bound))
