"""Log-linear histograms of any size above 0: errors between 1e-18 and 1e18, durations in nanoseconds."""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Parts of an octave, so that a quantile is off by 6.25 % at most.
PARTS = 16
# Octaves that are told apart: 2**-60 is what a float64 around 1 cannot show, 2**60 ns are 36 years. What lies beyond
# falls into the outermost buckets, which bounds what a histogram can hold.
LAST_OCTAVE = 60
_FIRST = -LAST_OCTAVE * PARTS
_LAST = LAST_OCTAVE * PARTS - 1

Count = Annotated[int, Field(ge=0)]


class Histogram(BaseModel):
    """Counts by bucket; 0 has a count of its own. Negative and NaN are nothing that can be added."""

    model_config = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="constants")

    zero: Count = 0
    buckets: dict[Annotated[int, Field(ge=_FIRST, le=_LAST)], Count] = Field(
        default_factory=dict, max_length=2 * LAST_OCTAVE * PARTS
    )
    total: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The sum, of values of at most 2**60 each."""
    largest: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def add(self, value: float) -> None:
        """Counts a value of at least 0."""
        self.largest = max(self.largest, value)
        if value <= 0:
            self.zero += 1
            return
        self.total += min(value, 2.0**LAST_OCTAVE)
        bucket = bucket_of(value)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    @property
    def count(self) -> int:
        return self.zero + sum(self.buckets.values())

    @property
    def mean(self) -> float:
        """0.0 where nothing was counted."""
        count = self.count
        return self.total / count if count else 0.0

    def quantile(self, q: float) -> float:
        """An estimate of the q-quantile, linear within its bucket and at most the largest; 0.0 if empty.

        Raises:
            ValueError: `q` is not within [0, 1].
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies within [0, 1], got {q}")
        rank = max(q * self.count, 1.0)
        below = self.zero
        if rank <= below or not self.buckets:
            return 0.0
        for bucket in sorted(self.buckets):
            inside = self.buckets[bucket]
            if below + inside >= rank:
                low, high = bounds(bucket)
                return min(low + (high - low) * (rank - below) / inside, self.largest)
            below += inside
        return self.largest


def bucket_of(value: float) -> int:
    """The bucket [low, high) of a value above 0."""
    mantissa, exponent = math.frexp(value)
    return min(max((exponent - 1) * PARTS + int((mantissa * 2 - 1) * PARTS), _FIRST), _LAST)


def bounds(bucket: int) -> tuple[float, float]:
    """The bounds [low, high) of a bucket."""
    octave, part = divmod(bucket, PARTS)
    return math.ldexp(1 + part / PARTS, octave), math.ldexp(1 + (part + 1) / PARTS, octave)
