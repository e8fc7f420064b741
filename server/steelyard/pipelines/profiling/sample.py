"""A uniform sample of a stream of numbers, of bounded size and the same for the same stream."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Sample:
    """Vitter's algorithm R: after n values each of them is in the sample with the same probability."""

    def __init__(self, capacity: int, dtype: type) -> None:
        self.seen = 0
        # Pages that are never written to take no memory.
        self._kept: NDArray[Any] = np.empty(capacity, dtype)
        self._random = np.random.default_rng(0)

    @property
    def complete(self) -> bool:
        """Whether every value is in it."""
        return self.seen <= len(self._kept)

    @property
    def values(self) -> NDArray[Any]:
        return self._kept[: self.seen]

    def add(self, values: NDArray[Any]) -> None:
        """values: [n], in the stream's order."""
        room = max(0, len(self._kept) - self.seen)
        first, rest = values[:room], values[room:]
        self._kept[self.seen : self.seen + len(first)] = first
        self.seen += len(first)
        if len(rest):
            # Of a place that is drawn twice the later value stays, as if they had come one by one.
            places = self._random.integers(0, np.arange(self.seen + 1, self.seen + len(rest) + 1))
            drawn = places < len(self._kept)
            self._kept[places[drawn]] = rest[drawn]
            self.seen += len(rest)
