"""What batches cost by their rows and the length that they are padded to, by buckets of length."""

from bisect import bisect_left

from steelyard.scheduling.cost import ALONE, CostModel

# The buckets' bounds, two an octave: rows of one bucket cost about the same, and between buckets the cost is taken from
# both. Longer rows than the last count in proportion.
BOUNDS = tuple(bound << power for power in range(18) for bound in (2, 3) if (power, bound) != (0, 3))[:34]


def bucket_of(length: int) -> int:
    """The bound of the bucket that a length falls into."""
    return BOUNDS[min(bisect_left(BOUNDS, length), len(BOUNDS) - 1)]


# What the shortest rows cost at least, as a share of the shortest that are known.
SHORTEST_SHARE = 0.2


class LengthCosts:
    """A view of a version's costs; the shape of a curve is its bucket's bound, as the only dimension."""

    __slots__ = ("cost",)

    def __init__(self, cost: CostModel) -> None:
        self.cost = cost

    def predict(self, rows: int, length: int) -> float:
        """Nanoseconds of a run of `rows` rows that are padded to `length`; in proportion to both where nothing is known
        of such."""
        known = self._beside(length)
        if known is None:
            return float(rows * max(length, 1))
        below, above = known
        most = self.cost.curve((above,))
        assert most is not None
        high = most.predict(rows)
        if below == above:
            # Beyond the shortest and the longest that are known in proportion; no run takes no time.
            return high * max(length / above, SHORTEST_SHARE)
        least = self.cost.curve((below,))
        assert least is not None
        low = least.predict(rows)
        return low + (high - low) * (length - below) / (above - below)

    def per_row(self, length: int) -> float:
        """The least that a row of this length costs in the best company, nanoseconds."""
        limit = self.limit(length)
        return (self.predict(limit, length) + self.overhead_ns) / limit

    def limit(self, length: int) -> int:
        """How many rows of this length are best run together."""
        known = self._beside(length)
        curve = None if known is None else self.cost.curve((known[1],))
        return 1 if curve is None else curve.best

    @property
    def overhead_ns(self) -> float:
        """What a batch costs beside its run."""
        return self.cost.overhead_ns

    def observe(self, rows: int, length: int, ns: int, company: int = ALONE) -> None:
        """Takes one live run; it counts for its bucket's bound."""
        bound = bucket_of(length)
        known = self._beside(bound)
        if known is not None and self.cost.curve((bound,)) is None:
            # What is between others costs what lies between theirs, until it was seen itself.
            near = self.cost.curve((known[1],))
            assert near is not None
            guessed = {size: self.predict(size, bound) for size, _, _ in near.points}
            self.cost.learn_more(guessed, (bound,), tried=False)
        if length < bound:
            ns = int(ns * self.predict(rows, bound) / self.predict(rows, length))
        self.cost.observe(rows, ns, (bound,), company)

    def _beside(self, length: int) -> tuple[int, int] | None:
        """The nearest known bounds, up to `length` and from it on; the same one twice where there is but one side."""
        known = self.cost.lengths()
        if not known:
            return None
        at = bisect_left(known, length)
        if at == 0:
            return known[0], known[0]
        if at == len(known):
            return known[-1], known[-1]
        return known[at - 1], known[at]
