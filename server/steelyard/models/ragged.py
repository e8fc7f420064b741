"""Inputs whose rows are of different length, and how one is made as long as another."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pad:
    """What a row of an input is made longer with: `value`, after its own or, with `left`, before."""

    value: float = 0
    left: bool = False
