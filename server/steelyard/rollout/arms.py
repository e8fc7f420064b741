"""A confidence sequence of the difference between two arms, each with its own requests."""

import math
from typing import Self

from steelyard.rollout.sequences import PRIOR_VARIANCE, MeanSequence, boundary, crossed

# Part of α for the primary's own rate, half of it for each end. What it costs the rest is log(1 / 0.9), a fiftieth.
_RATE_ALPHA = 0.1

# Events are rare, and a centre that is never above this makes the lower bounds narrow. Where more than a quarter of the
# requests are slow, the variance process is a few hundredths larger than it could be.
RATE_CENTRE = (0.0, 0.25)


def rate() -> MeanSequence:
    """The sequence of how often an event comes: observations are 0 and 1."""
    return MeanSequence(0.0, 1.0, RATE_CENTRE)


class TwoArms:
    """A confidence sequence of how much more often an event comes to the candidate's requests than to the primary's.

    With p and q for the arms' running means of conditional means, a sum of both arms' deviations

        S(q) = w1 Σ (x - (q + m)) - w0 Σ (y - q),   w1 : w0 = (1 - share) : share,

    is held against a difference m = p - q. The weights are the planned share's, so that q falls out of the sum but for
    how far the split is off; q is taken from an interval of the primary's own sequence, at its worst end. Nothing
    rests on the split: a wrong one makes the bounds wide, not wrong. What it saves over a sequence for each arm and a
    union of both is that variances are added, not widths: half of the requests where the arms are of equal size.
    """

    def __init__(self, share: float) -> None:
        """`share` is the part of the requests that the candidate is to get, between 0 and 1."""
        if not 0.0 < share < 1.0:
            raise ValueError(f"share: expected more than 0 and less than 1, got {share:g}")
        self.candidate, self.primary = rate(), rate()
        most = max(share, 1.0 - share)
        self._w1, self._w0 = (1.0 - share) / most, share / most
        low, high = self.candidate.scale_below, self.candidate.scale_above
        self._scale_over = max(self._w1 * low, self._w0 * high)
        self._scale_under = max(self._w1 * high, self._w0 * low)

    @property
    def n(self) -> int:
        """Requests of both arms."""
        return self.candidate.n + self.primary.n

    @property
    def mean(self) -> float:
        """Difference of the arms' means; 0 before the first request."""
        return self.candidate.mean - self.primary.mean

    def observe(self, candidate: tuple[int, int], primary: tuple[int, int]) -> None:
        """Takes how many requests had the event and how many had not, of each arm. Raises ValueError for bad counts."""
        for arm, (events, others) in ((self.candidate, candidate), (self.primary, primary)):
            arm.observe({1.0: events, 0.0: others})

    @property
    def _variance(self) -> float:
        return self._w1**2 * self.candidate.variance + self._w0**2 * self.primary.variance

    def _sum(self, rate: float) -> float:
        """S at m = 0 where the primary's rate is `rate`."""
        candidate, primary = self.candidate, self.primary
        return self._w1 * (candidate.total - candidate.n * rate) - self._w0 * (
            primary.total - primary.n * rate
        )

    def _worst_sum(self, sign: float, alpha: float) -> float:
        """The least of `sign` * S at m = 0 over the primary's rates that its own sequence leaves."""
        primary = self.primary
        slope = sign * (self._w0 * primary.n - self._w1 * self.candidate.n)
        part = 0.5 * _RATE_ALPHA * alpha
        log = -math.log(part) + 0.5 * math.log1p(primary.variance / PRIOR_VARIANCE)
        # A closed form that is nearly always wide enough; that it is, the martingale says.
        width = math.sqrt(2.0 * (primary.variance + PRIOR_VARIANCE) * log) + log
        beyond = primary.under if slope < 0.0 else primary.over
        while True:
            end = primary.mean + (width if slope < 0.0 else -width) / max(primary.n, 1)
            if not 0.0 < end < 1.0:
                end = min(max(end, 0.0), 1.0)
                break
            if beyond(end, part):
                break
            width *= 2.0
        return sign * self._sum(end)

    def over(self, difference: float, alpha: float) -> bool:
        """Whether the lower bound at `alpha` is over `difference`; needs no root."""
        need = self._w1 * self.candidate.n * difference
        part = (1.0 - _RATE_ALPHA) * alpha
        return (
            # The observed rate makes most of it: while it is not enough there, no other one has to be looked at.
            crossed(
                self._sum(self.primary.mean) - need, self._variance, self._scale_over, PRIOR_VARIANCE, part
            )
            and crossed(
                self._worst_sum(1.0, alpha) - need, self._variance, self._scale_over, PRIOR_VARIANCE, part
            )
        )

    def under(self, difference: float, alpha: float) -> bool:
        """Whether the upper bound at `alpha` is under `difference`; needs no root."""
        need = self._w1 * self.candidate.n * difference
        part = (1.0 - _RATE_ALPHA) * alpha
        return crossed(
            need - self._sum(self.primary.mean), self._variance, self._scale_under, PRIOR_VARIANCE, part
        ) and crossed(
            need + self._worst_sum(-1.0, alpha), self._variance, self._scale_under, PRIOR_VARIANCE, part
        )

    def lower(self, alpha: float) -> float:
        """The lower bound at `alpha`, no less than -1."""
        if not self.candidate.n:
            return -1.0
        u = boundary(self._variance, self._scale_over, PRIOR_VARIANCE, (1.0 - _RATE_ALPHA) * alpha)
        return max((self._worst_sum(1.0, alpha) - u) / (self._w1 * self.candidate.n), -1.0)

    def upper(self, alpha: float) -> float:
        """The upper bound at `alpha`, no more than 1."""
        if not self.candidate.n:
            return 1.0
        u = boundary(self._variance, self._scale_under, PRIOR_VARIANCE, (1.0 - _RATE_ALPHA) * alpha)
        return min((u - self._worst_sum(-1.0, alpha)) / (self._w1 * self.candidate.n), 1.0)

    def to_json(self) -> dict[str, object]:
        """What `restore` takes."""
        return {"candidate": self.candidate.to_json(), "primary": self.primary.to_json()}

    def restore(self, state: object) -> Self:
        """Takes up a state that `to_json` gave, and returns itself. Raises ValueError for what is none."""
        if not isinstance(state, dict) or state.keys() != {"candidate", "primary"}:
            raise ValueError(f"expected the candidate's and the primary's sequences, got {repr(state)[:200]}")
        candidate, primary = rate().restore(state["candidate"]), rate().restore(state["primary"])
        self.candidate, self.primary = candidate, primary
        return self
