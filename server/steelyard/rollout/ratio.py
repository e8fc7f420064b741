"""Whether requests are split between two arms as was asked, at every look."""

import math
from typing import Self

from steelyard.rollout.sequences import MAX_COUNT

# How narrow the prior is about the asked share, in requests: narrower finds small faults of the split sooner, and great
# ones later.
PRIOR_REQUESTS = 100.0


class SampleRatio:
    """A test of the share that the candidate gets, which holds however often one looks.

    The Bayes factor of a Beta mixture of shares against the one that was asked for is a martingale where that one is
    kept: that it ever reaches 1/α has a chance of at most α (Lindon and Malek 2022). It takes requests to be assigned
    one by one; where assignment sticks to a key, a key is to be counted once.
    """

    def __init__(self, share: float, alpha: float = 0.001) -> None:
        """`share` is what the candidate is to get. Raises ValueError unless both are between 0 and 1."""
        for name, value in (("share", share), ("alpha", alpha)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name}: expected more than 0 and less than 1, got {value:g}")
        self.share, self.alpha = share, alpha
        self.candidate = 0
        self.primary = 0
        self.mismatch = False
        """Whether the split was ever found to be another than was asked."""

    def observe(self, candidate: int, primary: int) -> bool:
        """Takes how many requests went to each arm; returns `mismatch`. Raises ValueError for counts below 0."""
        for count in (candidate, primary):
            if count < 0 or self.candidate + self.primary + count > MAX_COUNT >> 1:
                raise ValueError(f"expected a count of requests from 0, got {count}")
        self.candidate += candidate
        self.primary += primary
        self.mismatch = self.mismatch or self.log_evidence >= -math.log(self.alpha)
        return self.mismatch

    @property
    def log_evidence(self) -> float:
        """log of the Bayes factor against the asked share."""
        a, b = PRIOR_REQUESTS * self.share, PRIOR_REQUESTS * (1.0 - self.share)
        k, m = self.candidate, self.primary
        return (
            _log_beta(a + k, b + m) - _log_beta(a, b) - k * math.log(self.share) - m * math.log1p(-self.share)
        )

    @property
    def observed(self) -> float:
        """The share that the candidate has had; the asked one before the first request."""
        n = self.candidate + self.primary
        return self.candidate / n if n else self.share

    def to_json(self) -> dict[str, object]:
        """What `restore` takes."""
        return {"candidate": self.candidate, "primary": self.primary, "mismatch": self.mismatch}

    def restore(self, state: object) -> Self:
        """Takes up a state that `to_json` gave, and returns itself. Raises ValueError for what is none."""
        match state:
            case {"candidate": int(candidate), "primary": int(primary), "mismatch": bool(mismatch)}:
                if min(candidate, primary) >= 0 and candidate + primary <= MAX_COUNT:
                    self.candidate, self.primary, self.mismatch = candidate, primary, mismatch
                    return self
        raise ValueError(f"expected counts of both arms and whether they mismatch, got {repr(state)[:200]}")


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
