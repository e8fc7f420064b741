"""Comparing a candidate's answer with the primary's, by the rules of the manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from steelyard.errors import ManifestError
from steelyard.models.bfloat16 import from_bfloat16
from steelyard.models.rollout import CompareRule
from steelyard.rollout.expression import compile_expression
from steelyard.rollout.rules.breach import WORST, Breach, Rule
from steelyard.rollout.rules.close import Close
from steelyard.rollout.rules.cosine import Cosine
from steelyard.rollout.rules.equal import Equal
from steelyard.rollout.rules.expressed import Expressed
from steelyard.rollout.rules.ranking import Ranking
from steelyard.rollout.rules.winners import TopK, TopOne
from steelyard.rollout.sides import Array, OutputError, Sides

DEFAULT_ABSOLUTE = 1e-4
DEFAULT_RELATIVE = 1e-3
DEFAULT_SIMILARITY = 0.999
DEFAULT_CORRELATION = 0.99

FLOATS = ("FP16", "FP32", "FP64", "BF16")
_NOT_NUMBERS = ("BOOL", "BYTES")


class Output(Protocol):
    """What is to be known of an output: `steelyard.models.spec.TensorSpec` has it."""

    @property
    def name(self) -> str: ...

    @property
    def datatype(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Pair:
    """What came of comparing two answers to the same request.

    `severity` is 0.0 where they agree, and otherwise that of the worst rule that was broken, on one scale:

    - above 0 to 3, numbers that are off: the decades by which the worst of them is beyond what its rule allows, so that
      1 is ten times and 3 a thousand times or more (`close`: the tolerance; `cosine`, `ranking`: the distance from 1);
    - above 1 to 2, others among the largest: 1 and the share of the k that is not in common (`top_k`);
    - above 2 to 3, another answer: 2 and the share of the winners, values or rows that changed (`top_1`, `equal`,
      `expression`);
    - infinite, what cannot be compared: an output that the candidate has not, another shape or dtype, NaN or an
      infinity where the other side has none.

    `breach.grade_of` makes small, medium, large and worst of it.
    """

    agrees: bool
    severity: float
    broken: tuple[str, ...]
    """The rules that were broken, by name, in the manifest's order."""
    error: Mapping[str, OutputError]
    """By output, for those of numbers whose two sides have the same shape and dtype."""
    why: Mapping[str, str]
    """By rule that was broken: a short text."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """An output, and the rules over it alone; where there are none, `form` is the rule that it can be compared."""

    name: str
    bfloat16: bool
    rules: tuple[Rule, ...]
    form: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(rule.name for rule in self.rules) or (self.form,)


class Comparison:
    """The rules of a model, ready to be applied to one pair after another, from any thread."""

    __slots__ = ("_expressions", "_judged", "names")

    def __init__(
        self, judged: Sequence[_Judged], expressions: Sequence[Expressed], names: Sequence[str]
    ) -> None:
        self._judged = tuple(judged)
        self._expressions = tuple(expressions)
        self.names = tuple(names)
        """All names that `Pair.broken` can hold, in the manifest's order."""

    def compare(self, primary: Mapping[str, Array], candidate: Mapping[str, Array], rows: int | None) -> Pair:
        """Compares two answers, each an array by the name of the output; `rows` is what the first axis counts, or None.

        The primary's answer says what is compared: what it does not hold is not, and what the candidate holds beyond it
        is left aside. Nothing that the candidate answered raises, or takes more time or memory than an answer of the
        primary's shapes does. BF16 come as the uint16 of their bits, BYTES as objects.
        """
        breaches: dict[str, Breach] = {}
        errors: dict[str, OutputError] = {}
        misfits: set[str] = set()
        with np.errstate(all="ignore"):
            for output in self._judged:
                left = primary.get(output.name)
                if left is None:
                    continue
                right = candidate.get(output.name)
                problem = misfit(left, right)
                if problem is None and right is not None:
                    sides = Sides(left, right, rows, output.bfloat16)
                    problem = self._judge(output, sides, errors, breaches)
                if problem is not None:
                    misfits.add(output.name)
                    worst = Breach(WORST, f"output {output.name}: {problem}")
                    breaches.update(dict.fromkeys(output.names, worst))
            for rule in self._expressions:
                named = rule.expression.names
                if named <= primary.keys():
                    breach = self._express(rule, primary, candidate, rows, named & misfits)
                    if breach is not None:
                        breaches[rule.name] = breach
        broken = tuple(name for name in self.names if name in breaches)
        return Pair(
            agrees=not broken,
            severity=max((breach.severity for breach in breaches.values()), default=0.0),
            broken=broken,
            error=errors,
            why={name: breaches[name].why for name in broken},
        )

    @staticmethod
    def _judge(
        output: _Judged, sides: Sides, errors: dict[str, OutputError], breaches: dict[str, Breach]
    ) -> str | None:
        """Writes the errors and the rules that are broken, or says why the two sides cannot be compared."""
        if sides.numeric:
            errors[output.name], alike = sides.error()
            if not alike:
                return "NaN or infinite on one side only"
        for rule in output.rules:
            breach = rule.check(sides)
            if breach is not None:
                breaches[rule.name] = breach
        return None

    def _express(
        self,
        rule: Expressed,
        primary: Mapping[str, Array],
        candidate: Mapping[str, Array],
        rows: int | None,
        misfits: frozenset[str],
    ) -> Breach | None:
        if misfits:
            return Breach(WORST, f"cannot be compared: {', '.join(sorted(misfits))}")
        return rule.check(self._numbers(primary, rule), self._numbers(candidate, rule), rows)

    def _numbers(self, answer: Mapping[str, Array], rule: Expressed) -> dict[str, Array]:
        """The outputs that a rule names, BF16 as float32."""
        bits = {output.name for output in self._judged if output.bfloat16}
        return {
            name: from_bfloat16(answer[name]) if name in bits else answer[name]
            for name in rule.expression.names
        }


def misfit(primary: Array, candidate: Array | None) -> str | None:
    """Why the two arrays cannot be compared value by value, or None."""
    if candidate is None:
        return "the candidate's answer has none"
    if primary.dtype != candidate.dtype:
        return f"expected {primary.dtype.name}, came {candidate.dtype.name}"
    if primary.shape != candidate.shape:
        return f"expected shape {list(primary.shape)}, came {list(candidate.shape)[:16]}"
    return None


def compile_rules(
    rules: Sequence[CompareRule], outputs: Sequence[Output], tolerances: Mapping[str, tuple[float, float]]
) -> Comparison:
    """The comparison of a model with these outputs.

    `tolerances` are the absolute and the relative one by output, of the last calibration; for outputs that are not in
    it they are 1e-4 and 1e-3. Without rules, outputs of floats are `close`, all others `equal`.

    Raises:
        ManifestError: a rule names an output that is not there, does not fit its datatype, or has the name of another.
    """
    if not rules:
        rules = [
            CompareRule(output=output.name, rule="close" if output.datatype in FLOATS else "equal")
            for output in outputs
        ]
    by_name = {output.name: output for output in outputs}
    found: dict[str, list[Rule]] = {name: [] for name in by_name}
    expressions: list[Expressed] = []
    names: list[str] = []
    for place, rule in enumerate(rules, 1):
        name = rule.name or (
            f"expression {place}" if rule.rule == "expression" else f"{rule.rule} {rule.output}"
        )
        where = f"rollout.compare {place} ({name})"
        if name in names:
            raise ManifestError(
                f"{where}: expected names that differ, came {name!r} again; name gives it another"
            )
        names.append(name)
        if rule.expression is not None:
            try:
                expressions.append(Expressed(name, compile_expression(rule.expression, list(by_name))))
            except ManifestError as exc:
                raise ManifestError(f"{where}: {exc}") from exc
            continue
        output = by_name.get(rule.output or "")
        if output is None:
            raise ManifestError(
                f"{where}: expected one of the outputs {', '.join(by_name)}, came {rule.output!r}"
            )
        if output.datatype in _NOT_NUMBERS and rule.rule != "equal":
            raise ManifestError(
                f"{where}: the rule {rule.rule} needs numbers, output {output.name} is {output.datatype}; "
                "expected equal or an expression"
            )
        found[output.name].append(_rule(rule, name, tolerance(rule, output, tolerances)))
    judged = []
    for output in outputs:
        form = f"form {output.name}"
        if not found[output.name]:
            if form in names:
                raise ManifestError(
                    f"rollout.compare: expected another name than {form!r}, which is a rule's of its own"
                )
            names.append(form)
        judged.append(_Judged(output.name, output.datatype == "BF16", tuple(found[output.name]), form))
    return Comparison(judged, expressions, names)


def tolerance(
    rule: CompareRule, output: Output, tolerances: Mapping[str, tuple[float, float]]
) -> tuple[float, float]:
    """The absolute and the relative tolerance of a rule: its own, where one part given leaves the other 0."""
    if rule.absolute is not None or rule.relative is not None:
        return rule.absolute or 0.0, rule.relative or 0.0
    if output.name in tolerances:
        return tolerances[output.name]
    return (DEFAULT_ABSOLUTE, DEFAULT_RELATIVE) if output.datatype in FLOATS else (0.0, 0.0)


def _rule(rule: CompareRule, name: str, allowed: tuple[float, float]) -> Rule:
    absolute, relative = allowed
    match rule.rule:
        case "close":
            return Close(name, absolute, relative)
        case "cosine":
            return Cosine(name, DEFAULT_SIMILARITY if rule.least is None else rule.least)
        case "ranking":
            return Ranking(name, DEFAULT_CORRELATION if rule.least is None else rule.least)
        case "top_1":
            return TopOne(name, absolute, relative)
        case "top_k":
            return TopK(name, rule.k or 1, 1.0 if rule.least is None else rule.least, absolute, relative)
        case _:
            return Equal(name)
