"""What a batch of n rows costs a version, learned at warm-up and kept up to date by live batches."""

# A size counts as efficient while its cost per row is within this share of the best one met: less than the
# noise of a shared machine, more than what a larger batch saves elsewhere (fewer hand-overs).
EFFICIENT_WITHIN = 0.03

# What a batch costs beside its run: the way to a thread and back, filling, waking the loop. Measured beside a front.
HAND_OVER_NS = 100_000

# Weight of one live batch in the running mean of its size.
LIVE_WEIGHT = 0.1


class CostModel:
    """Nanoseconds that one run takes, by rows.

    Warm-up sets the sizes that were measured and, with them, the largest size worth forming. Live batches refine
    the prediction only, so that one noisy minute cannot talk the batcher out of a good size for ever.
    """

    __slots__ = ("_mean_ns", "_measured", "efficient_rows")

    def __init__(self) -> None:
        self._measured: list[tuple[int, int]] = []
        self._mean_ns: dict[int, float] = {}
        self.efficient_rows: int | None = None

    def learn(self, measured: dict[int, int], inline_below_ns: int = 0) -> None:
        """Takes warm-up's measurements: rows to nanoseconds of one run.

        Sets `efficient_rows` to the largest measured size whose cost per row is within `EFFICIENT_WITHIN` of the best:
        no batch is formed larger than a smaller one that is cheaper by the row. The cost is that of the run alone
        where such a batch stays below `inline_below_ns` and so is run without a hand-over, else the hand-over is in it.
        """
        self._measured = sorted(measured.items())
        self._mean_ns.update({rows: float(ns) for rows, ns in measured.items()})
        if measured:
            rows = self._efficient(0)
            self.efficient_rows = rows if measured[rows] < inline_below_ns else self._efficient(HAND_OVER_NS)

    def _efficient(self, beside_ns: int) -> int:
        """The largest measured size that is about as cheap by the row as any, where each run costs `beside_ns` more."""
        per_row = {rows: (ns + beside_ns) / rows for rows, ns in self._measured}
        enough = min(per_row.values()) * (1 + EFFICIENT_WITHIN)
        return max(rows for rows, cost in per_row.items() if cost <= enough)

    def observe(self, rows: int, ns: int) -> None:
        """Takes one live run of `rows` rows that took `ns`."""
        bucket = 1 << (rows.bit_length() - 1) if rows else 0
        per_bucket = ns * bucket / rows if rows else float(ns)
        mean = self._mean_ns.get(bucket)
        self._mean_ns[bucket] = per_bucket if mean is None else mean + LIVE_WEIGHT * (per_bucket - mean)

    def predict_ns(self, rows: int) -> int | None:
        """Nanoseconds that a run of `rows` is expected to take, or None where nothing is known."""
        bucket = 1 << (rows.bit_length() - 1) if rows else 0
        mean = self._mean_ns.get(bucket)
        if mean is not None:
            return int(mean * rows / bucket) if bucket else int(mean)
        if not self._mean_ns:
            return None
        near = min(self._mean_ns, key=lambda known: abs(known - rows))
        return int(self._mean_ns[near] * max(rows, 1) / max(near, 1))

    def floor_ns(self, rows: int) -> int | None:
        """The least that a run of at least `rows` rows took at warm-up, or None where none was measured.

        Unlike `predict_ns` it has no part of waiting for the interpreter or for a core in it.
        """
        for size, ns in self._measured:
            if size >= rows:
                return ns
        return None

    @property
    def measured(self) -> dict[int, int]:
        """Rows to nanoseconds, as warm-up measured them."""
        return dict(self._measured)
