"""Who answers for models, and until when they serve, as Prometheus metrics."""

import datetime
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from steelyard.evidence.governed import governed
from steelyard.evidence.retirement import WHOLE
from steelyard.supervisor.record import Record
from steelyard.supervisor.webhook import Webhook


class GovernanceCollector(Collector):
    """Reads where things stand at each scrape."""

    def __init__(self, record: Record, webhook: Webhook) -> None:
        self._record = record
        self._webhook = webhook

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        retires = GaugeMetricFamily(
            "steelyard_retirement_timestamp_seconds",
            "The end of the last day on which a model serves.",
            labels=("model",),
        )
        warned = GaugeMetricFamily(
            "steelyard_retirement_warning",
            "1 where each answer warns its caller that the version goes out of service; version 0: of every version.",
            labels=("model", "version", "replacement"),
        )
        retired = GaugeMetricFamily(
            "steelyard_retired",
            "1 where callers are refused, as the version is out of service; version 0: the whole model.",
            labels=("model", "version"),
        )
        owned = GaugeMetricFamily(
            "steelyard_model_owner",
            "1 by owner and tier of each model that has an owner.",
            labels=("model", "owner", "tier"),
        )
        for model in self._record.models:
            life = self._record.life(model)
            if life.retiring.retire_on is not None:
                retires.add_metric([model], _end_of(life.retiring.retire_on))
            known = governed(model, life)
            for number, notice in known.notices.items():
                if number not in known.retired and WHOLE not in known.retired:
                    warned.add_metric([model, str(number), notice.replacement], 1)
            for number in known.retired:
                retired.add_metric([model, str(number)], 1)
            if "owner" in life.governance:
                owned.add_metric([model, life.governance["owner"], life.governance.get("tier", "")], 1)
        posts = CounterMetricFamily(
            "steelyard_webhook_posts", "Events for the webhook, by what became of them.", labels=("outcome",)
        )
        if self._webhook.url is not None:
            for outcome in ("taken", "failed", "dropped"):
                posts.add_metric([outcome], self._webhook.counts[outcome])
        yield from (retires, warned, retired, owned, posts)


def _end_of(day: str) -> float:
    after = datetime.date.fromisoformat(day) + datetime.timedelta(days=1)
    return datetime.datetime.combine(after, datetime.time(), datetime.UTC).timestamp()
