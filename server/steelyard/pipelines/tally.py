"""What happened to one request or batch in a pipeline, written where it happens and counted by whoever serves."""

import time
from collections import Counter

IMPUTE = "impute"


class Tally:
    """Times and errors by the place of a step in `Pipeline.steps`, and how often which rule was broken.

    One thread at a time writes it: the one that has the request or the batch.
    """

    __slots__ = ("errors", "ns", "rules", "runs")

    def __init__(self, steps: int) -> None:
        self.ns = [0] * steps
        self.runs = [0] * steps
        self.errors = [0] * steps
        self.rules: Counter[tuple[str, str]] = Counter()
        """By rule and by what was done: refuse, mark, flag or impute."""

    def ended(self, place: int, began_ns: int, errors: int = 0) -> None:
        """Counts a run of the step at `place`, which began at this time of the monotonic clock and ends now."""
        self.ns[place] += time.monotonic_ns() - began_ns
        self.runs[place] += 1
        self.errors[place] += errors

    def count(self, rule: str, action: str, times: int = 1) -> None:
        """Counts a rule by what was done."""
        self.rules[rule, action] += times
