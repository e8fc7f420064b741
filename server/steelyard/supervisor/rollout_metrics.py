"""Labels, drills and canaries as Prometheus metrics."""

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from steelyard.rollout.gate import Gate
from steelyard.rollout.trials import Shadow
from steelyard.supervisor.canaries import Canaries
from steelyard.supervisor.record import Record
from steelyard.supervisor.shadow_process import ShadowState
from steelyard.supervisor.shadow_run import ShadowRun
from steelyard.supervisor.shadows import Shadows


class RolloutCollector(Collector):
    """Reads where things stand at each scrape."""

    def __init__(self, record: Record, canaries: Canaries, shadows: Shadows) -> None:
        self._record = record
        self._canaries = canaries
        self._shadows = shadows

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
        for shadow, running in self._shadows.running():
            gates.add(shadow.model, shadow.name, running.weighing.gate)
        yield from ShadowFamilies(self._shadows.running()).families()
        yield from (share, requests, failed, gates.worse, gates.verdict)

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


class ShadowFamilies:
    """What shadows have seen, and what of it never came to be compared."""

    def __init__(self, running: Sequence[tuple[Shadow, ShadowRun]]) -> None:
        self._running = running

    def families(self) -> Iterator[Metric]:
        labels = ("model", "candidate")
        up = GaugeMetricFamily("steelyard_shadow_up", "1 where the candidate runs, else 0.", labels=labels)
        paused = GaugeMetricFamily(
            "steelyard_shadow_paused",
            "1 while nothing is handed over, as the primary's own callers wait.",
            labels=labels,
        )
        exits = CounterMetricFamily(
            "steelyard_shadow_exits", "How often the candidate's process ended.", labels=(*labels, "how")
        )
        sampled = CounterMetricFamily(
            "steelyard_shadow_sampled",
            "Requests that were chosen, by what became of them.",
            labels=(*labels, "outcome"),
        )
        pairs = CounterMetricFamily(
            "steelyard_shadow_pairs", "Pairs, by what came of them.", labels=(*labels, "outcome")
        )
        agreement = GaugeMetricFamily(
            "steelyard_shadow_agreement",
            "The share of pairs of answers that agree, and its interval.",
            labels=(*labels, "bound"),
        )
        for shadow, running in self._running:
            names = [shadow.model, shadow.name]
            tap = running.tap
            up.add_metric(names, running.process.state is ShadowState.RUNNING)
            paused.add_metric(names, tap["paused"])
            for how in ("crashed", "hung", "leaked"):
                exits.add_metric([*names, how], running.process.exits[how])
            checkpoint = running.process.checkpoint
            not_compared = checkpoint.get("not_compared", {})
            for outcome, count in (
                ("handed_over", tap["acknowledged"]),
                *((name, tap[name]) for name in sorted(tap) if name.startswith("dropped_")),
            ):
                sampled.add_metric([*names, outcome], count)
            if "pairs" in checkpoint:
                seen = checkpoint["pairs"]
                failures = seen["failures"]
                for outcome, count in (
                    ("agreed", seen["agreed"]),
                    ("disagreed", seen["pairs"] - seen["agreed"]),
                    *(
                        (f"failed_{side}", failures[side])
                        for side in ("primary_only", "candidate_only", "both")
                    ),
                    *((f"not_compared_{reason}", number) for reason, number in sorted(not_compared.items())),
                ):
                    pairs.add_metric([*names, outcome], count)
                for bound, value in running.weighing.agreement().items():
                    agreement.add_metric([*names, bound], value)
        return iter((up, paused, exits, sampled, pairs, agreement))


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
