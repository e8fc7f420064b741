"""The page of /metrics, read as a scraper reads it."""

import re
from collections.abc import Mapping

from tests.support.server import Server

# Prometheus' own parser takes a tenth of a second for this page, longer than some of what is watched by it.
_SAMPLE = re.compile(r"(\w+)(?:{(.*)})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


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
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    for line in page.splitlines():
        if line.startswith("#") or any(label not in line for label in wanted):
            continue
        match = _SAMPLE.fullmatch(line)
        assert match is not None, line
        name, value = match[1], float(match[3])
        found = dict(_LABEL.findall(match[2] or ""))
        samples[name] = samples.get(name, 0.0) + value
        if name == "steelyard_requests_total":
            outcomes[found["outcome"]] = outcomes.get(found["outcome"], 0.0) + value
        if name == "steelyard_refused_total":
            refusals[found["reason"]] = refusals.get(found["reason"], 0.0) + value
    return Metrics(samples, outcomes, refusals)
