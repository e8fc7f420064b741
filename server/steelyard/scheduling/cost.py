"""What a batch of n rows costs a version, by shape: learned at warm-up and from live batches."""

import math
from collections.abc import Mapping
from enum import IntEnum

from steelyard.scheduling.curve import Curve
from steelyard.scheduling.kept_costs import SHAPES_KEPT, KeptCosts, KeptCurve

# The largest size that is ever used costs by the row at most so much more than the best, as warm-up saw them: a
# disturbed warm-up must not rule out for good what live batches would show to be as cheap. Which of the sizes up to it
# are used is the curve's to say.
TRIED_WITHIN = 0.15

# What a batch costs beside its run: the way to a thread and back, filling, waking the loop. Measured beside a front.
HAND_OVER_NS = 100_000

# The same of a batch that runs on the caller's thread: taking, filling, encoding, settling (docs/costs.md).
INLINE_OVERHEAD_NS = 20_000

# Weight of one run beside others in what it says of how runs slow each other, which settles among the lower ones that
# were seen, as costs do; and the most that is believed: more than four at a time on one core would be a budget that is
# wrong.
BESIDE_DOWN = 0.1
BESIDE_UP = 0.04
BESIDE_MOST = 4.0

# After so many runs beside others a shape's own figures for that are begun, from what those runs say of all its sizes.
COMPANY_RUNS = 8

# What a run says of its size by `Company`: how much of its time is that of the others is itself only learned.
COMPANY_WEIGHTS = (1.0, 0.5, 0.2)

# What is shown goes into an answer of some kilobytes: the last shapes, and of each the first sizes and choices.
SHOWN_SHAPES = 8
SHOWN_POINTS = 24
SHOWN_ROWS = 16


class Company(IntEnum):
    """Whether other runs went on at the same time."""

    ALONE = 0
    SOME = 1
    BESIDE = 2


ALONE, SOME, BESIDE = (company.value for company in Company)


class CostModel:
    """Nanoseconds that one run takes, by the shape of its rows and their number.

    Warm-up sets the sizes that were measured and, with them, the largest size worth forming. Live batches refine the
    figures and with them which of the sizes up to that are used.

    `beside` is how many times as long a run takes while others go on, `observed` how many live runs were learned from,
    `by_shape` the curves of shapes of which anything is known, `company` what runs of these take while others go on:
    some sizes suffer more from others than the rest. Each size begins there as if it suffered as much as any, and those
    next to the ones that run are tried once.
    """

    __slots__ = (
        "_base",
        "_base_shape",
        "_company_runs",
        "_lengths",
        "_limit",
        "_measured",
        "_met",
        "_overhead_ns",
        "beside",
        "by_shape",
        "company",
        "efficient_rows",
        "observed",
    )

    def __init__(self) -> None:
        self._measured: list[tuple[int, int]] = []
        self.by_shape: dict[object, Curve] = {}
        self.company: dict[object, Curve] = {}
        self._met: dict[object, None] = {}
        self._lengths: list[int] | None = None
        self._base: Curve | None = None
        self._base_shape: object = ()
        self._limit = 1
        self._overhead_ns = float(HAND_OVER_NS)
        self.beside = 1.0
        self._company_runs = 0
        self.efficient_rows: int | None = None
        self.observed = 0

    def learn(self, measured: Mapping[int, int], inline_below_ns: int = 0, shape: object = ()) -> None:
        """Takes warm-up's measurements: rows to nanoseconds of one run, of inputs of `shape`.

        Sets `efficient_rows` to the largest measured size whose cost per row is within `TRIED_WITHIN` of the best. The
        cost is that of the run alone where such a batch stays below `inline_below_ns` and so is run without a
        hand-over, else the hand-over is in it.
        """
        if not measured:
            return
        self._measured = sorted(measured.items())
        rows = self._efficient(0)
        inline = measured[rows] < inline_below_ns
        self._overhead_ns = float(INLINE_OVERHEAD_NS if inline else HAND_OVER_NS)
        self.efficient_rows = self._limit = rows if inline else self._efficient(HAND_OVER_NS)
        points = [(rows, float(ns)) for rows, ns in self._measured if rows]
        self._base = Curve(points, self._limit, self._overhead_ns, measured=True)
        self._base_shape = shape
        self.by_shape[shape] = self._base
        self.company.clear()
        self._lengths = None

    def learn_more(self, measured: Mapping[int, float], shape: object, tried: bool = True) -> None:
        """Takes figures of another shape than the first: measured, or where they were not `tried`, guessed."""
        points = [(rows, float(ns)) for rows, ns in measured.items() if rows]
        if points:
            self.by_shape[shape] = Curve(points, self._limit, self._overhead_ns, tried, measured=tried)
            self._lengths = None

    def _efficient(self, beside_ns: int) -> int:
        """The largest measured size that is about as cheap by the row as any, each run costing `beside_ns` more."""
        per_row = {rows: (ns + beside_ns) / rows for rows, ns in self._measured}
        enough = min(per_row.values()) * (1 + TRIED_WITHIN)
        return max(rows for rows, cost in per_row.items() if cost <= enough)

    def set_limit(self, rows: int) -> None:
        """The most rows that batches may have."""
        self._limit = rows
        for curve in (*self.by_shape.values(), *self.company.values()):
            curve.set_limit(rows)

    def curves(self) -> list[tuple[object, Curve]]:
        """All shapes of which anything is known."""
        return list(self.by_shape.items())

    def lengths(self) -> list[int]:
        """The shapes of one dimension of which anything is known, as that dimension; ascending."""
        if self._lengths is None:
            self._lengths = sorted(
                shape[0] for shape in self.by_shape if isinstance(shape, tuple) and len(shape) == 1
            )
        return self._lengths

    @property
    def overhead_ns(self) -> float:
        """What a batch costs beside its run."""
        return self._overhead_ns

    def curve(self, shape: object) -> Curve | None:
        """What is known of a shape, or None."""
        return self.by_shape.get(shape)

    def observe(self, rows: int, ns: int, shape: object = (), company: int = ALONE) -> None:
        """Takes one live run of `rows` rows of `shape` that took `ns`, in the company of others or not."""
        if rows < 1:
            return
        self.observed += 1
        curve = self.by_shape.get(shape)
        weight = COMPANY_WEIGHTS[company]
        if company:
            if company == BESIDE and curve is not None:
                self._learn_beside(min(ns / curve.predict(rows), BESIDE_MOST))
                known = self.company.get(shape)
                if known is not None:
                    known.observe(rows, ns)
                elif self._company_runs >= COMPANY_RUNS:
                    self.company[shape] = curve.doubted(self.beside)
                ns = int(ns / self.beside)
            else:
                ns = int(2 * ns / (1 + self.beside))
        if curve is None:
            if not self._is_worth_a_curve(shape):
                return
            curve = self._first_of(shape, rows, float(ns))
        elif shape != self._base_shape:
            self.by_shape[shape] = self.by_shape.pop(shape)
        curve.observe(rows, ns, weight)

    def _learn_beside(self, ratio: float) -> None:
        """Takes how many times as long as alone a run beside others took."""
        self._company_runs += 1
        weight = BESIDE_DOWN if ratio < self.beside else BESIDE_UP
        # The first ones count as much as each other.
        weight = max(weight, 1 / self._company_runs)
        self.beside = max(1.0, self.beside + (ratio - self.beside) * weight)

    def _is_worth_a_curve(self, shape: object) -> bool:
        """Whether a shape of which nothing is known may have a place: where there is one, or it was met lately.

        Of shapes without end hardly one comes twice: a curve made and thrown away for each would cost more than it
        could save.
        """
        if len(self.by_shape) < SHAPES_KEPT:
            return True
        if shape in self._met:
            del self._met[shape]
            return True
        if len(self._met) >= SHAPES_KEPT:
            del self._met[next(iter(self._met))]
        self._met[shape] = None
        return False

    def _first_of(self, shape: object, rows: int, ns: float) -> Curve:
        """The curve of a shape that is met for the first time: as warm-up's, and as high as this run says."""
        base = self._base
        if base is None:
            curve = Curve([(rows, ns)], self._limit, self._overhead_ns, tried=False)
            if shape == self._base_shape:
                self._base = curve
        else:
            ratio = ns / base.predict(rows)
            points = [(size, live * ratio) for size, _, live in base.points]
            curve = Curve(points, self._limit, self._overhead_ns, tried=False)
        if len(self.by_shape) >= SHAPES_KEPT:
            # The one that was learned from the longest ago, which comes first.
            oldest = next(key for key in self.by_shape if key != self._base_shape)
            del self.by_shape[oldest]
            self.company.pop(oldest, None)
        self.by_shape[shape] = curve
        self._lengths = None
        return curve

    def predict_ns(self, rows: int, shape: object = None) -> int | None:
        """Nanoseconds that a run of `rows` is expected to take where it is alone; None where nothing is known.

        A shape that was not met is taken to cost as much as warm-up's.
        """
        curve = self.by_shape.get(shape) if shape is not None else None
        curve = curve or self._base
        return None if curve is None else int(curve.predict(rows))

    def shortest_ns(self, rows: int, shape: object) -> int:
        """Less than any run of `rows` of this shape takes; 0 where the shape was never met."""
        curve = self.by_shape.get(shape)
        return 0 if curve is None else int(curve.shortest(rows))

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

    def kept(self) -> KeptCosts:
        """What was learned, to be kept; shapes that are no tuples of dimensions are left out."""
        return KeptCosts(self.beside, _kept(self.by_shape), _kept(self.company))

    def restore(self, kept: KeptCosts) -> None:
        """Takes up what was kept, after `learn`: figures count in proportion to what was measured this time.

        So a machine that has become faster or slower is not taken for the one that it was.
        """
        base = self._base
        if base is None:
            return
        before = next((one for one in kept.curves if one.shape == self._base_shape), None)
        if before is None:
            return
        now = dict(self._measured)
        both = [now[rows] / ns for rows, ns, _ in before.points if rows in now]
        if not both:
            return
        self._lengths = None
        faster = math.exp(sum(map(math.log, both)) / len(both))
        base.restore(before.points, faster, before.runs)
        self.beside = min(max(kept.beside, 1.0), BESIDE_MOST)
        self._company_runs = COMPANY_RUNS
        for one in kept.curves[-SHAPES_KEPT + 1 :]:
            if one is not before:
                points = [(rows, ns * faster) for rows, ns, _ in one.points]
                curve = self.by_shape[one.shape] = Curve(points, self._limit, self._overhead_ns)
                curve.restore(one.points, faster, one.runs)
        for one in kept.company:
            if one.shape in self.by_shape:
                points = [(rows, ns * faster) for rows, ns, _ in one.points]
                curve = self.company[one.shape] = Curve(points, self._limit, self._overhead_ns)
                curve.restore(one.points, faster, one.runs)


def _kept(curves: Mapping[object, Curve]) -> tuple[KeptCurve, ...]:
    shapes = ((shape, curve) for shape, curve in curves.items() if isinstance(shape, tuple))
    return tuple(KeptCurve(shape, tuple(curve.points), curve.runs) for shape, curve in shapes)


def shown_costs(cost: CostModel) -> dict[str, object]:
    """What is known, for people: microseconds of one run by rows for each shape, and the plan for rows that wait; the
    same for runs beside others, empty where too few were seen."""
    shapes = []
    for shape, curve in cost.curves()[-SHOWN_SHAPES:]:
        us, first = _shown(curve)
        beside_us, beside_first = _shown(cost.company[shape]) if shape in cost.company else ({}, [])
        shapes.append(
            {
                "shape": list(shape) if isinstance(shape, tuple) else [],
                "limit": curve.limit,
                "us": us,
                "first": first,
                "beside_us": beside_us,
                "beside_first": beside_first,
            }
        )
    return {"beside": round(cost.beside, 3), "shapes": shapes}


def _shown(curve: Curve) -> tuple[dict[str, float], list[int]]:
    us = {str(rows): round(live / 1000, 1) for rows, _, live in curve.points[:SHOWN_POINTS]}
    return us, [curve.planned(waiting) for waiting in range(1, min(curve.limit, SHOWN_ROWS) + 1)]
