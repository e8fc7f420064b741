"""An A/A calibration: the primary's own version answers again, in batches of other sizes, to learn its noise."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steelyard.rollout.calibration import tolerance_of
from steelyard.rollout.comparison import Output, Pair
from steelyard.rollout.frames import Asked
from steelyard.rollout.sides import OutputError
from steelyard.shadow.local import LocalCandidate

# Requests that came before, to fill batches with: other rows than the request's own, as in production.
_FILLERS = 16
_FILLER_BYTES = 16 << 20


class Calibration:
    """Runs each request alone and in a batch of another size, in turn twice as large up to the largest allowed.

    `document` holds the largest errors seen so far, and the tolerances that they ask for.
    """

    def __init__(
        self, candidate: LocalCandidate, outputs: Sequence[Output], checkpoint: Mapping[str, Any]
    ) -> None:
        """checkpoint: what `document` gave in an earlier life, or nothing."""
        self._candidate = candidate
        self._outputs = tuple(outputs)
        self.runs = int(checkpoint.get("runs", 0))
        self.unlike = int(checkpoint.get("unlike", 0))
        self._errors = {
            name: OutputError(float(absolute), float(relative))
            for name, (absolute, relative) in checkpoint.get("errors", {}).items()
        }
        self._requests = 0
        self._fillers: deque[Asked] = deque(maxlen=_FILLERS)

    def batches(self, asked: Asked) -> Iterator[list[Asked]]:
        """Batches to be run for one request, which stands first in each."""
        yield [asked]
        most = self._candidate.most_together(asked.body)
        if most > 1:
            sizes = [size for power in range(1, 17) if (size := 1 << power) < most] + [most]
            size = sizes[self._requests % len(sizes)]
            others = tuple(self._fillers) or (asked,)
            yield [asked, *(others[place % len(others)] for place in range(size - 1))]
        self._requests += 1
        if len(asked.body) <= _FILLER_BYTES // _FILLERS:
            self._fillers.append(asked)

    def add(self, pair: Pair | None) -> None:
        """What came of a run; None where it failed, though the primary had answered."""
        self.runs += 1
        if pair is None or pair.severity == float("inf"):
            self.unlike += 1
            return
        for name, error in pair.error.items():
            known = self._errors.get(name, error)
            self._errors[name] = OutputError(
                max(known.max_absolute, error.max_absolute), max(known.max_relative, error.max_relative)
            )

    def document(self) -> dict[str, Any]:
        """For JSON: runs; unlike, those that could not be compared by value (it failed, other shapes, NaN on one side);
        errors and tolerances by output, each the absolute and the relative one."""
        return {
            "runs": self.runs,
            "unlike": self.unlike,
            "errors": {
                name: [error.max_absolute, error.max_relative] for name, error in self._errors.items()
            },
            "tolerances": {
                name: list(both) for name, both in tolerance_of([self._errors], self._outputs).items()
            },
        }
