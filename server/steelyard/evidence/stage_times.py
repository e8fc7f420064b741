"""How long stages took, hour by hour and version by version: counts that can be added up, and percentiles of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

HOUR_NS = 3600 * 10**9

# The exponent of a float64 and four bits of its mantissa: 16 buckets for each power of two, so 6.25 % wide at most.
_SHIFT = 48


@dataclass(slots=True)
class StageCounts:
    """How often a stage took about so long: counts by bucket."""

    buckets: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, durations_ns: NDArray[np.int64]) -> Self:
        """Those of some decisions."""
        keys, counts = np.unique(
            np.maximum(durations_ns, 0).astype(np.float64).view(np.int64) >> _SHIFT, return_counts=True
        )
        return cls(dict(zip(keys.tolist(), counts.tolist(), strict=True)))

    @property
    def count(self) -> int:
        return sum(self.buckets.values())

    def add(self, other: "StageCounts") -> None:
        """Takes over what another has counted."""
        for key, count in other.buckets.items():
            self.buckets[key] = self.buckets.get(key, 0) + count

    def quantile_ns(self, q: float) -> int:
        """The duration below which a share `q` lies, off by 6.25 % at most; 0 where nothing was counted."""
        rank, below = q * self.count, 0
        for key in sorted(self.buckets):
            inside = self.buckets[key]
            if below + inside >= rank:
                low, high = _low(key), _low(key + 1)
                return round(low + (high - low) * max(rank - below, 0) / inside)
            below += inside
        return 0

    def share_below(self, ns: int) -> float:
        """What share took less than `ns`, as far as buckets tell; 0 where nothing was counted."""
        bucket = int(np.float64(max(ns, 0)).view(np.int64) >> _SHIFT)
        below = sum(count for key, count in self.buckets.items() if key < bucket)
        return (below + self.buckets.get(bucket, 0) / 2) / self.count if self.buckets else 0.0


@dataclass(slots=True)
class HourTimes:
    """What the answered decisions of one version took within one hour, by stage."""

    stages: dict[str, StageCounts]

    def add(self, other: "HourTimes") -> None:
        """Takes over what another has counted of the same hour."""
        for name, counts in other.stages.items():
            self.stages.setdefault(name, StageCounts()).add(counts)


Hours = dict[tuple[int, int], HourTimes]
"""By the hour (hours since the epoch) and the version."""


def hours_of(
    received_unix_ns: NDArray[np.int64],
    versions: NDArray[np.int64],
    stages: Mapping[str, NDArray[np.int64]],
) -> Hours:
    """The times of some decisions."""
    hours = received_unix_ns // HOUR_NS
    found: Hours = {}
    for hour in np.unique(hours).tolist():
        for version in np.unique(versions[hours == hour]).tolist():
            which = (hours == hour) & (versions == version)
            found[hour, version] = HourTimes(
                {name: StageCounts.of(all_[which]) for name, all_ in stages.items()}
            )
    return found


def hours_to_json(hours: Hours) -> list[dict[str, Any]]:
    """The counts as JSON."""
    return [
        {
            "hour": hour,
            "version": version,
            "stages": {
                name: [list(counts.buckets), list(counts.buckets.values())]
                for name, counts in times.stages.items()
            },
        }
        for (hour, version), times in hours.items()
    ]


def hours_from_json(document: list[dict[str, Any]]) -> Hours:
    """The counts in what `hours_to_json` has made."""
    return {
        (one["hour"], one["version"]): HourTimes(
            {name: StageCounts(dict(zip(*both, strict=True))) for name, both in one["stages"].items()}
        )
        for one in document
    }


def _low(key: int) -> float:
    return float(np.int64(key << _SHIFT).view(np.float64))
