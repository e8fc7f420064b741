"""What a rule says of a pair that breaks it, and the one scale on which all of them say how bad it is."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from steelyard.rollout.sides import Sides

Grade = Literal["small", "medium", "large", "worst"]
GRADES: tuple[Grade, ...] = get_args(Grade)

# Numbers that are further off than by this many decades are all alike: a thousand times beyond is wrong, not off.
MOST_DECADES = 3.0
# So that what is only just beyond is not counted as within.
LEAST_SEVERITY = 1e-3
# Sums over a row are exact to about this; equal rows must not fall short of a least similarity of 1.
ROUNDING = 1e-9

WORST = math.inf


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that was broken: how badly, on the scale of `Pair.severity`, and a short text that says by what."""

    severity: float
    why: str


class Rule(Protocol):
    """A rule over one output, whose sides have the same shape and datatype and the same values that are not finite."""

    @property
    def name(self) -> str: ...

    def check(self, sides: Sides) -> Breach | None: ...


def grade_of(severity: float) -> Grade:
    """The grade of a severity above 0: small to 1, medium to 2, large above, worst where it is infinite or NaN."""
    if severity <= 1:
        return "small"
    if severity <= 2:
        return "medium"
    return "large" if severity < WORST else "worst"


def beyond(times: float) -> float:
    """The severity of numbers that are off by `times` what the rule allows: decades, within (0, 3]."""
    if times != times or times >= 10**MOST_DECADES:
        return MOST_DECADES
    return max(math.log10(times), LEAST_SEVERITY) if times > 1 else LEAST_SEVERITY


def short_of(value: float, least: float) -> float:
    """The severity of a similarity `value` that falls short of `least`, both at most 1."""
    return beyond((1 - value) / max(1 - least, ROUNDING))


def another(share: float) -> float:
    """The severity where a share of the rows, above 0, has another answer: within (2, 3]."""
    return 2 + min(max(share, LEAST_SEVERITY), 1.0)
