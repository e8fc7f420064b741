"""What was seen of the pairs of a rollout: counts, errors, the values' distributions, failures and latencies."""

import hashlib
from collections.abc import Mapping, Sequence
from random import Random
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from steelyard.errors import DataError
from steelyard.rollout.comparison import Comparison, Output, Pair
from steelyard.rollout.histogram import Count, Histogram
from steelyard.rollout.sides import Array, widened

# A distance between distributions of 2,000 values is exact to about 0.04; two sides of an output are 80 KB of JSON.
RESERVOIR = 2000
# Of one pair, so that looking at a segmentation's millions of values costs no more than at a thousand classes.
VALUES_A_PAIR = 16
# Outputs whose errors and values are kept; rules and outputs come from the manifest, which has 64 rules at most.
MAX_OUTPUTS = 64
MAX_RULES = MAX_OUTPUTS + 64
MAX_KINDS = 20
MAX_KIND_CHARS = 120
OTHER_KINDS = "other"
# Batches of more rows are counted with those of so many.
MAX_ROWS = 1 << 20
_SIZES = 8 + 17 * 8

Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=4096)]
Side = Literal["primary", "candidate"]


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Values(_Saved):
    """A sample of the values of both sides, taken at the same places: every value seen is in it with the same chance.

    Which ones is decided by `seed` and by how many were seen, so that it can be stopped and taken up again.
    """

    seed: Count
    seen: Count = 0
    primary: Annotated[list[Finite], Field(max_length=RESERVOIR)] = []
    candidate: Annotated[list[Finite], Field(max_length=RESERVOIR)] = []

    def add(self, primary: Array, candidate: Array, bfloat16: bool) -> None:
        """Takes some of the values of two arrays of the same shape; such as are not finite on one side are left out."""
        random = Random(self.seed + self.seen)
        size = primary.size
        places = (
            range(size) if size <= VALUES_A_PAIR else [random.randrange(size) for _ in range(VALUES_A_PAIR)]
        )
        left, right = (widened(side.reshape(-1)[list(places)], bfloat16) for side in (primary, candidate))
        finite = np.isfinite(left) & np.isfinite(right)
        for p, c in zip(left[finite].tolist(), right[finite].tolist(), strict=True):
            self.seen += 1
            if len(self.primary) < RESERVOIR:
                self.primary.append(p)
                self.candidate.append(c)
            elif (slot := random.randrange(self.seen)) < RESERVOIR:
                self.primary[slot], self.candidate[slot] = p, c

    @property
    def distance(self) -> float:
        """The Kolmogorov-Smirnov distance: the most by which the two distribution functions differ; 0.0 if empty."""
        if not self.primary:
            return 0.0
        primary, candidate = np.sort(self.primary), np.sort(self.candidate)
        steps = np.concatenate([primary, candidate])
        ranks = [np.searchsorted(side, steps, side="right") for side in (primary, candidate)]
        return float(np.absolute(ranks[0] - ranks[1]).max()) / len(primary)


class OutputCounts(_Saved):
    """One output of numbers: the largest error of each pair, and the values."""

    bfloat16: bool
    absolute: Histogram = Field(default_factory=Histogram)
    relative: Histogram = Field(default_factory=Histogram)
    values: Values


class Failures(_Saved):
    """Pairs of which a side failed, and of what: at most 20 kinds a side, the rest together."""

    primary_only: Count = 0
    candidate_only: Count = 0
    both: Count = 0
    primary_kinds: Annotated[dict[Name, Count], Field(max_length=MAX_KINDS + 1)] = {}
    candidate_kinds: Annotated[dict[Name, Count], Field(max_length=MAX_KINDS + 1)] = {}


Latencies = Annotated[dict[Annotated[int, Field(ge=1, le=MAX_ROWS)], Histogram], Field(max_length=_SIZES)]


class PairCounts(_Saved):
    """All that is counted of a rollout's pairs; bounded in size whatever comes. One thread at a time."""

    version: Literal[1] = 1
    """Of this form; another one is not read."""
    rollout: Name
    pairs: Count = 0
    """Pairs that were compared: both sides answered."""
    agreed: Count = 0
    broken: Annotated[dict[Name, Count], Field(max_length=MAX_RULES)]
    """By rule, all rules of the comparison."""
    outputs: Annotated[dict[Name, OutputCounts], Field(max_length=MAX_OUTPUTS)]
    failures: Failures = Field(default_factory=Failures)
    primary_ns: Latencies = {}
    candidate_ns: Latencies = {}
    """By rows of the batch."""

    @classmethod
    def empty(cls, rollout: str, outputs: Sequence[Output], comparison: Comparison) -> Self:
        """Counts of a rollout with this id, which seeds the samples; of numbers, the first 64 outputs are followed."""
        numbers = [output for output in outputs if output.datatype not in ("BOOL", "BYTES")][:MAX_OUTPUTS]
        return cls(
            rollout=rollout,
            broken=dict.fromkeys(comparison.names[:MAX_RULES], 0),
            outputs={
                output.name: OutputCounts(
                    bfloat16=output.datatype == "BF16", values=Values(seed=seed_of(rollout, output.name))
                )
                for output in numbers
            },
        )

    def add(self, pair: Pair, primary: Mapping[str, Array], candidate: Mapping[str, Array]) -> None:
        """Counts a pair that was compared, with the answers that it came of."""
        self.pairs += 1
        self.agreed += pair.agrees
        for rule in pair.broken:
            if rule in self.broken:
                self.broken[rule] += 1
        for name, error in pair.error.items():
            output = self.outputs.get(name)
            if output is not None:
                output.absolute.add(error.max_absolute)
                output.relative.add(error.max_relative)
                output.values.add(primary[name], candidate[name], output.bfloat16)

    def add_failure(self, primary: str | None, candidate: str | None) -> None:
        """Counts a pair that could not be compared: the kind of each side's error, None for one that answered.

        Raises:
            ValueError: both sides answered.
        """
        if primary is None and candidate is None:
            raise ValueError("expected the error of a side, came none")
        failures = self.failures
        if primary is not None:
            _count(failures.primary_kinds, primary)
        if candidate is not None:
            _count(failures.candidate_kinds, candidate)
        if primary is None:
            failures.candidate_only += 1
        elif candidate is None:
            failures.primary_only += 1
        else:
            failures.both += 1

    def add_latency(self, side: Side, rows: int, ns: int) -> None:
        """Counts what a batch of `rows` rows took on a side, in nanoseconds."""
        sizes = self.primary_ns if side == "primary" else self.candidate_ns
        size = size_of(rows)
        if size not in sizes:
            sizes[size] = Histogram()
        sizes[size].add(float(max(ns, 0)))

    def to_json(self) -> str:
        """As text that `from_json` reads exactly."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """What `to_json` wrote.

        Raises:
            DataError: it did not write this, or another version of it did.
        """
        try:
            found = cls.model_validate_json(text)
        except ValidationError as exc:
            problem = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, problem["loc"])) or "text"
            raise DataError(f"counts of pairs: {where[:80]}: {problem['msg']}") from exc
        for name, output in found.outputs.items():
            if len(output.values.primary) != len(output.values.candidate):
                raise DataError(f"counts of pairs: outputs.{name}: expected as many values of both sides")
        return found

    def summary(self) -> dict[str, Any]:
        """For display: plain numbers and texts; durations in milliseconds."""
        failures = self.failures
        return {
            "rollout": self.rollout,
            "pairs": self.pairs,
            "agreed": self.agreed,
            "agreement": self.agreed / self.pairs if self.pairs else None,
            "broken": dict(self.broken),
            "outputs": {
                name: {
                    "absolute": _shown(output.absolute),
                    "relative": _shown(output.relative),
                    "distance": output.values.distance,
                    "values": len(output.values.primary),
                }
                for name, output in self.outputs.items()
            },
            "failures": {
                "primary_only": failures.primary_only,
                "candidate_only": failures.candidate_only,
                "both": failures.both,
                "primary_kinds": dict(failures.primary_kinds),
                "candidate_kinds": dict(failures.candidate_kinds),
            },
            "latency": [
                {
                    "rows": rows,
                    "primary": _milliseconds(self.primary_ns.get(rows)),
                    "candidate": _milliseconds(self.candidate_ns.get(rows)),
                }
                for rows in sorted(self.primary_ns.keys() | self.candidate_ns.keys())
            ],
        }


def seed_of(rollout: str, output: str) -> int:
    """A seed for the sample of an output, from the rollout's id: 48 bits."""
    digest = hashlib.sha256(f"{rollout}\0{output}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:6], "big")


def size_of(rows: int) -> int:
    """The size that batches of `rows` rows are counted under: exact to 16, above it to an eighth of an octave."""
    rows = min(max(rows, 1), MAX_ROWS)
    step = 1 << max(rows.bit_length() - 4, 0)
    return rows // step * step


def _count(kinds: dict[str, int], kind: str) -> None:
    kind = kind[:MAX_KIND_CHARS]
    if kind not in kinds and len(kinds) >= MAX_KINDS:
        kind = OTHER_KINDS
    kinds[kind] = kinds.get(kind, 0) + 1


def _shown(histogram: Histogram) -> dict[str, float]:
    return {
        "count": histogram.count,
        "zero": histogram.zero,
        "p50": histogram.quantile(0.5),
        "p99": histogram.quantile(0.99),
        "max": histogram.largest,
    }


def _milliseconds(histogram: Histogram | None) -> dict[str, float] | None:
    if histogram is None:
        return None
    return {
        "count": histogram.count,
        "mean_ms": histogram.mean / 1e6,
        "p50_ms": histogram.quantile(0.5) / 1e6,
        "p99_ms": histogram.quantile(0.99) / 1e6,
    }
