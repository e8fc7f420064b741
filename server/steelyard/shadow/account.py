"""What a shadow has counted: kept in memory, written to checkpoints, and taken up again by the next life."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from steelyard.errors import DataError
from steelyard.models.rollout import Guardrail
from steelyard.rollout.comparison import Comparison, Output
from steelyard.rollout.pairs import PairCounts

# A server that deploys again while it is compared shows another digest; more than so many say nothing more.
_DIGESTS_KEPT = 8

_DIFFERENCES = ("better", "same", "worse")


class Account:
    """Counts of a rollout's pairs, one thread at a time.

    `seen` is what was seen of them. Of each guardrail there are the paired differences beside it, each -1, 0 or 1, as
    the numbers of `better`, `same` and `worse`:

    - `error_rate`: the candidate failed, less the primary failed. Of every pair.
    - `slower_than`: the candidate's run was slower than the threshold, less the primary's was. Both runs are of the
      whole batch: only pairs count whose batch ran in one piece on both sides, with as many rows (what was not sampled
      is made up for by running the others again). The primary's is the time that passed; the candidate's is what its
      thread spent on the processor, where it runs by itself on one.
    - `disagreement`: 1 where two answers disagree. Of pairs with two answers.
    """

    def __init__(
        self,
        rollout: str,
        guardrails: Iterable[Guardrail],
        outputs: Sequence[Output],
        comparison: Comparison,
        checkpoint: Mapping[str, Any],
    ) -> None:
        """checkpoint: what `document` gave in an earlier life, or nothing. Raises `DataError` where it is another's."""
        self._guardrails = tuple(guardrails)
        try:
            pairs = checkpoint.get("pairs")
            self.seen = (
                PairCounts.empty(rollout, outputs, comparison)
                if pairs is None
                else PairCounts.from_json(json.dumps(pairs))
            )
            self.not_compared: Counter[str] = Counter(checkpoint.get("not_compared", {}))
            """Requests for which there is no pair, by reason: down, overloaded, unreadable."""
            self.units = int(checkpoint.get("units", 0))
            self.digests: list[str] = list(checkpoint.get("digests", ()))
            """The candidate's, in the order in which they were seen."""
            kept = checkpoint.get("guardrails", {})
            self._differences = {
                guardrail.name: {
                    name: int(kept.get(guardrail.name, {}).get(name, 0)) for name in _DIFFERENCES
                }
                for guardrail in self._guardrails
            }
            crashed = checkpoint.get("crashed", {})
            for primary_failed, pairs in ((False, "answered"), (True, "failed")):
                for _ in range(int(crashed.get(pairs, 0))):
                    self.failed("primary" if primary_failed else None, "crashed")
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError(f"the shadow's checkpoint: {error}") from None

    def ran(self, digest: str, rows: int, primary_ns: int, candidate_ns: int) -> None:
        """A unit has been run by the candidate of that digest; times are 0 where they are not of the same batch."""
        self.units += 1
        if digest and digest not in self.digests and len(self.digests) < _DIGESTS_KEPT:
            self.digests.append(digest)
        if primary_ns and candidate_ns:
            self.seen.add_latency("primary", rows, primary_ns)
            self.seen.add_latency("candidate", rows, candidate_ns)

    def failed(self, primary: str | None, candidate: str | None) -> None:
        """A pair of which a side failed: the kind of its error, None for a side that answered."""
        self.seen.add_failure(primary, candidate)
        self._differ("error_rate", (candidate is not None) - (primary is not None))

    def answered(self, disagrees: bool) -> None:
        """A pair of two answers, which `seen` has counted."""
        self._differ("error_rate", 0)
        self._differ("disagreement", int(disagrees))

    def took(self, pairs: int, primary_ns: int, candidate_ns: int) -> None:
        """So many pairs were of one batch, which took so long on either side."""
        for guardrail in self._guardrails:
            if guardrail.threshold_ms is not None:
                threshold_ns = guardrail.threshold_ms * 1e6
                difference = (candidate_ns > threshold_ns) - (primary_ns > threshold_ns)
                self._differences[guardrail.name][_DIFFERENCES[difference + 1]] += pairs

    def document(self) -> dict[str, Any]:
        """For JSON; what the constructor takes."""
        return {
            "pairs": self.seen.model_dump(mode="json"),
            "units": self.units,
            "not_compared": dict(self.not_compared),
            "digests": list(self.digests),
            "guardrails": {name: dict(counts) for name, counts in self._differences.items()},
        }

    def _differ(self, name: str, difference: int) -> None:
        counts = self._differences.get(name)
        if counts is not None:
            counts[_DIFFERENCES[difference + 1]] += 1
