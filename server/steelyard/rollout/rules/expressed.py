"""expression: a rule of the model's own, over any of its outputs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from steelyard.rollout.expression import Answers, Expression
from steelyard.rollout.operations import NotComparable
from steelyard.rollout.rules.breach import Breach, another
from steelyard.rollout.sides import Array


@dataclass(frozen=True, slots=True)
class Expressed:
    name: str
    expression: Expression

    def check(
        self, primary: Mapping[str, Array], candidate: Mapping[str, Array], rows: int | None
    ) -> Breach | None:
        """Both sides hold the outputs that the expression names, of the same shapes and dtypes; empty ones agree.

        What cannot be worked out is broken for every row.
        """
        names = self.expression.names
        if not any(primary[name].size for name in names):
            return None
        try:
            sides = Answers(
                *({name: by_row(answer[name], rows) for name in names} for answer in (primary, candidate))
            )
            kept = self.expression.evaluate(sides, 1 if rows is None else rows)
        except NotComparable as exc:
            return Breach(another(1.0), str(exc))
        broken = int(kept.size - np.count_nonzero(kept))
        return (
            Breach(another(broken / kept.size), f"{broken} of {kept.size} rows break it") if broken else None
        )


def by_row(array: Array, rows: int | None) -> Array:
    """[rows, ...]; all is one row where `rows` is None."""
    if rows is None:
        return array[np.newaxis]
    if not array.ndim or array.shape[0] != rows:
        raise NotComparable(f"expected {rows} rows, came an output of shape {list(array.shape)}")
    return array
