"""equal: every value is the same; NaN is the same as NaN."""

from dataclasses import dataclass

import numpy as np

from steelyard.rollout.rules.breach import Breach, another
from steelyard.rollout.sides import Sides


@dataclass(frozen=True, slots=True)
class Equal:
    name: str

    def check(self, sides: Sides) -> Breach | None:
        size = sides.primary.size
        if sides.primary.dtype.kind == "O":
            pairs = zip(sides.primary.reshape(-1).tolist(), sides.candidate.reshape(-1).tolist(), strict=True)
            count = sum(not same(primary, candidate) for primary, candidate in pairs)
        elif sides.numeric:
            count = sum(int(np.count_nonzero(block.difference)) for block in sides.blocks())
        else:
            count = int(np.count_nonzero(sides.primary != sides.candidate))
        return Breach(another(count / size), f"{count} of {size} values differ") if count else None


def same(primary: object, candidate: object) -> bool:
    """Whether two elements of BYTES are the same; what is neither bytes nor text is nothing that an answer can hold."""
    return type(primary) is type(candidate) and isinstance(primary, bytes | str) and primary == candidate
