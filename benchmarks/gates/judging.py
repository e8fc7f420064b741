"""Whether rounds of a ratio show that it has fallen below its threshold, by the sign test."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# How often a ratio whose true median is exactly at its threshold may be called a regression. Thresholds lie well below
# what is measured, so that a ratio that is where it was is called one far more rarely.
FALSE_ALARM = 0.01


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rounds of one gate say."""

    ratios: tuple[float, ...]
    least: float

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def highest(self) -> float:
        """The true median is at most this, but for FALSE_ALARM."""
        return upper_bound(self.ratios)

    @property
    def passed(self) -> bool:
        """False only where the rounds show it: the bound itself is below the threshold."""
        return self.highest >= self.least


def upper_bound(ratios: Sequence[float], false_alarm: float = FALSE_ALARM) -> float:
    """What the median of the ratios' distribution is at most, whatever that distribution is.

    Each round is below the true median with a chance of a half, so that the k-th largest of n rounds is below it with
    that of at most k - 1 heads in n throws of a coin (Conover, "Practical Nonparametric Statistics", 3.2). Single
    rounds that something disturbed, however much, move it no further than to the next round.

    Raises ValueError where the rounds are too few to say anything with that certainty.
    """
    n = len(ratios)
    chance, above = 0.0, 0
    while (following := chance + math.comb(n, above) / 2**n) <= false_alarm:
        chance, above = following, above + 1
    if above == 0:
        raise ValueError(
            f"{n} rounds bound no median but for {false_alarm}; expected at least {math.ceil(-math.log2(false_alarm))}"
        )
    return sorted(ratios, reverse=True)[above - 1]
