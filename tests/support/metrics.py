"""The page of /metrics, read as a scraper reads it."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import Server


class Metrics(dict[str, float]):
    """Sums by sample name over the series that were asked for; 0 where there are none."""

    def __init__(
        self, samples: Mapping[str, float], outcomes: dict[str, float], refusals: dict[str, float]
    ) -> None:
        super().__init__(samples)
        self._outcomes = outcomes
        self._refusals = refusals

    def __missing__(self, key: str) -> float:
        return 0.0

    def outcome(self, name: str) -> float:
        """Requests that ended like this."""
        return self._outcomes.get(name, 0.0)

    def refused(self, reason: str) -> float:
        """Requests refused for this reason."""
        return self._refusals.get(reason, 0.0)


def metrics(server: Server, **labels: str) -> Metrics:
    """The samples whose labels hold `labels`."""
    status, page = server.get("/metrics")
    assert status == 200, page
    samples: dict[str, float] = {}
    outcomes: dict[str, float] = {}
    refusals: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if any(sample.labels.get(name) != value for name, value in labels.items()):
                continue
            samples[sample.name] = samples.get(sample.name, 0.0) + sample.value
            if sample.name == "steelyard_requests_total":
                outcome = sample.labels["outcome"]
                outcomes[outcome] = outcomes.get(outcome, 0.0) + sample.value
            if sample.name == "steelyard_refused_total":
                reason = sample.labels["reason"]
                refusals[reason] = refusals.get(reason, 0.0) + sample.value
    return Metrics(samples, outcomes, refusals)
