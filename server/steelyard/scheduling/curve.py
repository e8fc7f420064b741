"""What one run costs by its rows, for inputs of one shape, and how rows that wait are best cut into runs."""

from array import array
from collections.abc import Iterable

from steelyard._native.batch import plan

# A size counts as efficient while its cost per row is within this share of the best smaller one: what the figures of a
# shared machine, each the lower fifth of many, still differ by. Rows that wait are cut otherwise than greedily only
# where that saves more than this, and are put together at all only where that does.
EFFICIENT_WITHIN = 0.01

# Sizes up to this are learned one by one, larger ones by powers of two: a curve has at most some 150 points.
EXACT_ROWS = 128

# A live run moves its size's figure by so much of the difference, down faster than up, so that the figure settles at
# about the lower fifth of what was seen: what disturbs a run can only slow it, and a slow minute passes.
WEIGHT_DOWN = 0.2
WEIGHT_UP = 0.05

# The same for the first run of a size whose figure was only guessed, from those of other sizes or shapes. One that was
# faster than the guess is believed, since nothing makes a run faster than it is.
FIRST_DOWN = 0.9
FIRST_UP = 0.2

# A run counts for at most so many times what was expected: one that lost its core for a second teaches nothing.
OUTLIER = 3.0

# After so many runs the figures of sizes that did not run follow those that did by a part, and the plan is made anew.
# So a size that looked slow in a bad minute is tried again, and a machine that has become slower changes no choice.
SETTLED_RUNS = 16
# Slowly, since such a trial costs what it costs: a size that is dearer for good runs once in a thousand times.
RELAXED = 1 / 64

# So many runs of a size are seen before its fastest one counts as the least that it takes, by which requests are
# refused.
LEAST_RUNS = 16

# After so many runs of a shape that warm-up did not measure, no size is run just to see what it takes.
TRIES_END = 256

# What is kept of costs of an earlier run of the server counts only within these bounds: a ratio to what was measured.
KEPT_RATIO_MOST = 20.0

# No plan is made anew for less, as a share of any figure.
REPLANNED_ABOVE = 0.02

# Plans reach so many rows; where more are allowed, batches of more are as large as the sizes met beyond are no dearer.
PLANNED_ROWS = 256


class Curve:
    """Nanoseconds by rows: measured or met sizes, and straight lines between them.

    `greedy`: whether taking all that waits, up to `limit` rows, is the best that can be done with it.
    `overhead_ns`: what a batch costs beside its run.
    """

    __slots__ = (
        "_allowed",
        "_base",
        "_costs",
        "_fastest",
        "_first",
        "_guessed",
        "_live",
        "_most",
        "_planned",
        "_recent",
        "_runs",
        "_seen",
        "_settled",
        "_sizes",
        "_total",
        "_untried",
        "greedy",
        "limit",
        "overhead_ns",
    )

    def __init__(
        self,
        points: Iterable[tuple[int, float]],
        limit: int,
        overhead_ns: float,
        tried: bool = True,
        measured: bool = False,
    ) -> None:
        """points: rows, at least 1, and nanoseconds; at least one. tried: whether they are of this shape, not guessed
        from others. measured: whether they are the least of several runs on this machine, just now."""
        self._base: dict[int, float] = dict(sorted(points))
        self._fastest = dict(self._base) if measured else {}
        self._seen = dict.fromkeys(self._fastest, LEAST_RUNS)
        self._live = dict(self._base)
        self._guessed = set() if tried else set(self._base)
        self._recent: set[int] = set()
        self._runs = 0
        self._settled = 0
        self.limit = max(1, limit)
        # Sizes that are to be run once, so that a shape which was not measured shows whether its sizes compare as
        # those of another did.
        self._untried = set() if tried else {1 << power for power in range((self.limit - 1).bit_length())}
        self.overhead_ns = overhead_ns
        self._plan()

    def doubted(self, times: float) -> "Curve":
        """One with figures so many times as high, each of which counts as a guess until its size has run."""
        return Curve(
            [(rows, ns * times) for rows, ns in self._live.items()], self.limit, self.overhead_ns, tried=False
        )

    @property
    def points(self) -> list[tuple[int, float, float]]:
        """Rows, nanoseconds as first measured or met, and as they stand now; ascending."""
        return [(rows, self._base[rows], self._live[rows]) for rows in self._sizes]

    @property
    def runs(self) -> int:
        """Live runs that were learned from, those of earlier servers included."""
        return self._settled + self._runs

    @property
    def best(self) -> int:
        """How many rows to run at a time where there is no end of them."""
        return self.planned(1 << 30)

    def restore(self, points: Iterable[tuple[int, float, float]], faster: float, runs: int = 0) -> None:
        """Takes what was kept of each size: rows, nanoseconds as first measured then, and as they stood at last; and
        how many runs that was learned from.

        Sizes that were measured again stand to that as they did then; others count for `faster` times as much.
        """
        for rows, base, live in points:
            if rows not in self._base:
                self._base[rows] = base * faster
            ratio = min(max(live / base, 1 / KEPT_RATIO_MOST), KEPT_RATIO_MOST)
            self._live[rows] = self._base[rows] * ratio
        self._settled += runs
        self._plan()

    def set_limit(self, limit: int) -> None:
        """The most rows that batches may have from now on."""
        if limit != self.limit:
            self.limit = max(1, limit)
            self._plan()

    def predict(self, rows: int) -> float:
        """Nanoseconds that a run of `rows` is expected to take; of none, as of one."""
        costs = self._costs
        if rows < len(costs):
            return costs[rows]
        sizes, live = self._sizes, self._live
        last = sizes[-1]
        if rows >= last:
            return live[last] * rows / last
        return _between(sizes, live, rows)

    def shortest(self, rows: int) -> float:
        """Less than a run of `rows` was ever seen to take, nanoseconds: by it nothing is given up that could be.

        0 where no smaller number has run often enough.
        """
        seen = self._seen
        known = max((size for size in seen if size <= rows and seen[size] >= LEAST_RUNS), default=0)
        return 0.8 * self._fastest[known] if known else 0.0

    def observe(self, rows: int, ns: float, weight: float = 1.0) -> None:
        """Takes one live run. weight: what it counts beside one that nothing disturbed."""
        if rows < 1:
            return
        size = rows
        if rows > EXACT_ROWS:
            size = 1 << (rows.bit_length() - 1)
            ns = ns * size / rows
        self._seen[size] = self._seen.get(size, 0) + 1
        self._fastest[size] = min(ns, self._fastest.get(size, ns))
        live = self._live
        known = live.get(size)
        if known is None:
            known = self._base[size] = live[size] = self.predict(size)
            self._guessed.add(size)
            self._sizes.append(size)
            self._sizes.sort()
        if ns > known * OUTLIER:
            ns = known * OUTLIER
        if size in self._guessed:
            self._guessed.discard(size)
            live[size] = self._base[size] = known + (ns - known) * (FIRST_DOWN if ns < known else FIRST_UP)
        else:
            live[size] = known + (ns - known) * (WEIGHT_DOWN if ns < known else WEIGHT_UP) * weight
        self._recent.add(size)
        self._untried.discard(size)
        self._runs += 1
        if self._runs >= SETTLED_RUNS:
            self._settle()

    def allows(self, rows: int) -> bool:
        """Whether a batch of `rows` is no dearer by the row than a smaller one."""
        return rows < 2 or (rows <= self._most and (rows >= len(self._allowed) or bool(self._allowed[rows])))

    def pays_to_wait(self, rows: int) -> bool:
        """Whether a larger batch than `rows` would be cheaper by the row."""
        best = self.best
        if rows >= best:
            return False
        own = (self.predict(rows) + self.overhead_ns) / max(rows, 1)
        full = (self.predict(best) + self.overhead_ns) / best
        return full < own * (1 - EFFICIENT_WITHIN)

    def planned(self, waiting: int) -> int:
        """How many of `waiting` rows to run first, so that all of them take the least time one batch after another."""
        if waiting < len(self._first):
            return self._first[waiting]
        return self._most if self._first[-1] == PLANNED_ROWS else self._first[-1]

    def first(self, waiting: int) -> int:
        """The same where they are about to run: once each, sizes next to it that were not measured are tried."""
        target = self.planned(waiting)
        untried = self._untried
        if untried:
            half, double = 1 << ((target - 1).bit_length() - 1) if target > 1 else 0, 1 << target.bit_length()
            for size in (half, double):
                if size in untried and size <= waiting:
                    untried.discard(size)
                    return size
        return target

    def share(self, waiting: int, idle: int, beside: float) -> int:
        """How many of `waiting` rows to run first where `idle` runs could begin at once.

        beside: how many times as long runs take that go on at the same time.
        """
        if waiting > self.limit * idle or waiting < 2:
            return self.first(waiting)
        rows_shared = 0
        least = self._total[waiting] if waiting < len(self._total) else self.predict(waiting)
        least *= 1 - EFFICIENT_WITHIN
        for runs in range(2, min(idle, waiting) + 1):
            rows = -(-waiting // runs)
            together = (self.predict(rows) + self.overhead_ns) * beside
            if self.allows(rows) and together < least:
                rows_shared, least = rows, together
        return rows_shared or self.first(waiting)

    def _settle(self) -> None:
        recent, live, base = self._recent, self._live, self._base
        drift = sum(live[size] / base[size] for size in recent) / len(recent)
        for size in live:
            if size not in recent:
                live[size] += (base[size] * drift - live[size]) * RELAXED
        recent.clear()
        self._settled += self._runs
        self._runs = 0
        if self._untried and self._settled >= TRIES_END:
            self._untried.clear()
            self._plan()
        planned = self._planned
        if any(abs(ns - planned.get(size, 0.0)) > REPLANNED_ABOVE * ns for size, ns in live.items()):
            self._plan()

    def _plan(self) -> None:
        """Costs of all sizes, which of them are efficient, and for any rows that wait the best first batch."""
        self._sizes = sizes = sorted(self._live)
        limit = min(self.limit, PLANNED_ROWS)
        self._planned = dict(self._live)
        live = array("d", [self._live[size] for size in sizes])
        self._costs, self._allowed, self._first, self._total = plan(
            array("q", sizes), live, limit, self.overhead_ns, EFFICIENT_WITHIN
        )
        self._most = self._worth_beyond(limit)
        takes_all = all(rows == min(waiting, limit) for waiting, rows in enumerate(self._first))
        self.greedy = takes_all and not self._untried and self._most == self.limit

    def _worth_beyond(self, planned: int) -> int:
        """The most rows of a batch: as many as are planned for, and more where the sizes met beyond are no dearer."""
        if self.limit <= planned:
            return self.limit
        least = (self._costs[planned] + self.overhead_ns) / planned
        most = planned
        for size in (size for size in self._sizes if planned < size <= self.limit):
            per_row = (self._live[size] + self.overhead_ns) / size
            if per_row > least * (1 + EFFICIENT_WITHIN):
                return most
            least, most = min(least, per_row), size
        return self.limit


def _between(sizes: list[int], live: dict[int, float], rows: int) -> float:
    """On the line between the sizes beside `rows`; before the first as cheap as that, after the last in proportion."""
    known = live.get(rows)
    if known is not None:
        return known
    below = above = 0
    for size in sizes:
        if size > rows:
            above = size
            break
        below = size
    if not below:
        return live[above]
    if not above:
        return live[below] * rows / below
    return live[below] + (live[above] - live[below]) * (rows - below) / (above - below)
