"""What a shadow has counted: kept in memory, written to checkpoints, and taken up again by the next life."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from steelyard.models.rollout import Guardrail

# A server that deploys again while it is compared shows another digest; more than so many say nothing more.
_DIGESTS_KEPT = 8

_DIFFERENCES = ("better", "same", "worse")


class Account:
    """Counts of pairs, one thread at a time.

    Of each guardrail the paired differences, each -1, 0 or 1, as the numbers of `better`, `same` and `worse`:

    - `error_rate`: the candidate failed, less the primary failed. Of every pair.
    - `slower_than`: the candidate's run was slower than the threshold, less the primary's was. Both runs are of the
      whole batch: only pairs count whose batch was sampled whole and ran in one piece on both sides. The primary's is
      the time that passed; the candidate's is what its thread spent on the processor, where it runs by itself on one.
    - `disagreement`: 1 where two answers disagree. Of pairs with two answers.
    """

    def __init__(self, guardrails: Iterable[Guardrail], checkpoint: Mapping[str, Any]) -> None:
        self._guardrails = tuple(guardrails)
        self.not_compared: Counter[str] = Counter(checkpoint.get("not_compared", {}))
        """Requests for which there is no pair, by reason: down, overloaded, unreadable."""
        self.units = int(checkpoint.get("units", 0))
        self.digests: list[str] = list(checkpoint.get("digests", ()))
        """The candidate's, in the order in which they were seen."""
        kept = checkpoint.get("guardrails", {})
        self._differences = {
            guardrail.name: Counter(
                {name: int(kept.get(guardrail.name, {}).get(name, 0)) for name in _DIFFERENCES}
            )
            for guardrail in self._guardrails
        }

    def ran(self, digest: str) -> None:
        """A unit has been run by the candidate of that digest."""
        self.units += 1
        if digest and digest not in self.digests and len(self.digests) < _DIGESTS_KEPT:
            self.digests.append(digest)

    def pair(
        self,
        primary_failed: bool,
        candidate_failed: bool,
        disagrees: bool | None,
        primary_ns: int,
        candidate_ns: int,
    ) -> None:
        """A pair; `disagrees` is None where there are no two answers, and a time 0 where it is not known."""
        for guardrail in self._guardrails:
            difference = 0
            if guardrail.on == "error_rate":
                difference = candidate_failed - primary_failed
            elif guardrail.on == "disagreement":
                if disagrees is None:
                    continue
                difference = int(disagrees)
            else:
                if not primary_ns or not candidate_ns:
                    continue
                assert guardrail.threshold_ms is not None
                threshold_ns = guardrail.threshold_ms * 1e6
                difference = (candidate_ns > threshold_ns) - (primary_ns > threshold_ns)
            self._differences[guardrail.name][_DIFFERENCES[difference + 1]] += 1

    def document(self) -> dict[str, Any]:
        """For JSON; what the constructor takes."""
        return {
            "units": self.units,
            "not_compared": dict(self.not_compared),
            "digests": list(self.digests),
            "guardrails": {name: dict(counts) for name, counts in self._differences.items()},
        }
