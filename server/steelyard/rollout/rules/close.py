"""close: |candidate - primary| <= absolute + relative * |primary|, value by value."""

from dataclasses import dataclass

import numpy as np

from steelyard.rollout.rules.breach import Breach, beyond
from steelyard.rollout.sides import Sides


@dataclass(frozen=True, slots=True)
class Close:
    name: str
    absolute: float
    relative: float

    def check(self, sides: Sides) -> Breach | None:
        worst, count = 0.0, 0
        for block in sides.blocks():
            if block.max_absolute <= self.absolute:
                continue
            allowed = block.magnitude * self.relative
            allowed += self.absolute
            over = block.difference > allowed
            broken = int(np.count_nonzero(over))
            if broken:
                count += broken
                worst = max(worst, float((block.difference[over] / allowed[over]).max()))
        if not count:
            return None
        return Breach(beyond(worst), f"{count} values beyond the tolerance, by up to {worst:.3g} times")
