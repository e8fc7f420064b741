"""What became of requests and answers that were chosen to be kept, over all workers."""

from collections import Counter, defaultdict
from collections.abc import Mapping

WAITING = "waiting_bytes"

# What counts payloads that have come to an end; `chosen` is their sum and that of those that wait.
OUTCOMES = ("kept", "digested", "dropped_budget", "dropped_disk", "dropped_fault")

Counts = Mapping[str, Mapping[str, int]]
"""By model, what a worker has counted since it began."""


class PayloadCounts:
    """Adds up what workers say; what those that have ended had counted stays."""

    def __init__(self) -> None:
        self._said: dict[str, Counts] = {}
        self._past: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def counted(self, worker: str, counts: Counts) -> None:
        """Takes what a worker has counted."""
        self._said[worker] = counts

    def worker_gone(self, worker: str) -> None:
        """A worker has ended."""
        for model, counts in self._said.pop(worker, {}).items():
            for outcome in OUTCOMES:
                self._past[model][outcome] += counts.get(outcome, 0)

    def all(self) -> dict[str, Counter[str]]:
        """By model, the sums of outcomes, and of what waits now."""
        found = {model: Counter(counts) for model, counts in self._past.items()}
        for said in self._said.values():
            for model, counts in said.items():
                total = found.setdefault(model, Counter())
                for name in (*OUTCOMES, WAITING):
                    total[name] += counts.get(name, 0)
        return dict(sorted(found.items()))
