"""What is known of a column of texts or booleans: its values, how often each is there, and how long they are."""

from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from steelyard.models.profile import MAX_VALUE_BYTES, MAX_VALUES, ByteLengths, ValueCounts

# Values that are counted at a time: with those of a batch, 30 MB of the longest.
MAX_TRACKED = 65_536


class Texts:
    """Counts by the algorithm of Misra and Gries, exact where there are at most MAX_TRACKED different texts."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._total = 0
        self._distinct = 0
        self._exact = True
        self._short_by = 0
        self._shortest: int | None = None
        self._longest = 0

    def add(self, texts: Any) -> None:
        """texts: an Arrow array of large_string without nulls."""
        if not len(texts):
            return
        self._total += len(texts)
        lengths = pc.binary_length(texts)
        shortest, longest = pc.min(lengths).as_py(), pc.max(lengths).as_py()
        self._shortest = shortest if self._shortest is None else min(self._shortest, shortest)
        self._longest = max(self._longest, longest)
        if longest > MAX_VALUE_BYTES:
            self._exact = False
            texts = texts.filter(pc.less_equal(lengths, MAX_VALUE_BYTES))
        found = pc.value_counts(texts)
        counts = self._counts
        for text, count in zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True):
            counts[text] = counts.get(text, 0) + count
        self._distinct = max(self._distinct, len(counts))
        if len(counts) > MAX_TRACKED:
            self._prune()

    def _prune(self) -> None:
        """Takes from every count that of the first value without a place: no more than total / MAX_TRACKED in all."""
        self._exact = False
        ordered = sorted(self._counts.values(), reverse=True)
        least = ordered[MAX_TRACKED]
        self._short_by += least
        self._counts = {text: count - least for text, count in self._counts.items() if count > least}

    def values(self) -> ValueCounts | None:
        """None where there is no text."""
        if not self._total:
            return None
        # The first of those that are as frequent is the least: sorted by text, then by count, which keeps that order.
        most = sorted(sorted(self._counts.items()), key=lambda pair: -pair[1])[:MAX_VALUES]
        return ValueCounts(
            distinct=self._distinct,
            exact=self._exact,
            counts=tuple(most),
            short_by=self._short_by,
            rest=self._total - sum(count for _, count in most),
        )

    def lengths(self) -> ByteLengths | None:
        """None where there is no text."""
        return None if self._shortest is None else ByteLengths(min=self._shortest, max=self._longest)


class Booleans:
    """Counts of false and true."""

    def __init__(self) -> None:
        self._counts = np.zeros(2, np.int64)

    def add(self, values: NDArray[np.bool_]) -> None:
        self._counts += np.bincount(values, minlength=2)

    def values(self) -> ValueCounts | None:
        """None where there is no value."""
        pairs = [
            (value, int(self._counts[int(value)])) for value in (False, True) if self._counts[int(value)]
        ]
        if not pairs:
            return None
        pairs.sort(key=lambda pair: -pair[1])
        return ValueCounts(distinct=len(pairs), exact=True, counts=tuple(pairs), short_by=0, rest=0)
