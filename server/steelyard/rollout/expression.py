"""Expressions over the outputs of two answers: a small part of Python's grammar, and nothing of Python behind it.

All that an expression works on is a plain number or truth, or an array whose first axis counts rows. Functions that
take many values to one do so row by row, and indices count within a row: an expression means the same in a batch of one
and in a batch of many, and can be worked out in blocks of rows.
"""

import ast
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steelyard.errors import ManifestError
from steelyard.models.rollout import MAX_EXPRESSION_CHARS
from steelyard.rollout.operations import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    NotComparable,
    Operation,
    Value,
    array_of,
    both,
    described,
    either,
    negative,
    nots,
    number,
    top,
    truth,
)
from steelyard.rollout.sides import BLOCK_VALUES, Array

# Each level may hold a block of values while the next is worked out.
MAX_DEPTH = 24
MAX_TOP = 1000

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Answers:
    """Rows of both answers, by output: [rows, ...]; floats as float64."""

    primary: Mapping[str, Array]
    candidate: Mapping[str, Array]


Step = Callable[[Answers], Value]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was checked: `names` are the outputs that it needs of both answers."""

    text: str
    names: frozenset[str]
    _evaluate: Step

    def evaluate(self, answers: Answers, rows: int) -> Bools:
        """Whether each of `rows` rows keeps the expression: bool of shape [rows].

        Raises:
            NotComparable: the result is no truth for each row or for all, or cannot be worked out.
        """
        widest = max((answers.primary[name].size for name in self.names), default=0) // max(rows, 1)
        step = max(BLOCK_VALUES // max(widest, 1), 1)
        kept = np.ones(rows, np.bool_)
        for start in range(0, rows, step):
            block = slice(start, start + step)
            part = kept[block]
            part[...] = self._verdict(
                Answers(self._cut(answers.primary, block), self._cut(answers.candidate, block)), len(part)
            )
        return kept

    def _cut(self, answer: Mapping[str, Array], block: slice) -> dict[str, Array]:
        cut = {name: answer[name][block] for name in self.names}
        return {
            name: array.astype(np.float64) if array.dtype.kind == "f" else array
            for name, array in cut.items()
        }

    def _verdict(self, answers: Answers, rows: int) -> Value:
        try:
            found = self._evaluate(answers)
        except NotComparable:
            raise
        except (ArithmeticError, IndexError, TypeError, ValueError) as exc:
            raise NotComparable(str(exc)[:200]) from exc
        if isinstance(found, bool):
            return found
        if isinstance(found, np.ndarray) and found.dtype == np.bool_ and found.shape in ((rows,), (rows, 1)):
            return found.reshape(rows)
        raise NotComparable(
            f"expected true or false for each row, came {described(found)}; all(...) makes one of many"
        )


def compile_expression(text: str, outputs: Sequence[str]) -> Expression:
    """Reads an expression over outputs of these names.

    Raises:
        ManifestError: it is none, names an output that is not there, or holds what expressions have not.
    """
    if len(text) > MAX_EXPRESSION_CHARS:
        raise ManifestError(
            f"expression: expected at most {MAX_EXPRESSION_CHARS} characters, got {len(text)}"
        )
    line = text.translate(str.maketrans("\r\n\t\f\v", "     "))
    bare = line.lstrip(" ")
    indent = len(line) - len(bare)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(bare, mode="eval")
    except SyntaxError as exc:
        column = indent + max(exc.offset or 1, 1)
        raise ManifestError(f"expression: column {column}: expected an expression: {exc.msg}") from exc
    except (ValueError, RecursionError, MemoryError) as exc:
        raise ManifestError(f"expression: expected an expression: {type(exc).__name__}: {exc}") from exc
    compiler = _Compiler(bare, indent, outputs)
    step = compiler.compile(tree.body, 1)
    if not compiler.names:
        raise ManifestError("expression: expected an output, as primary.NAME or candidate.NAME, came none")
    return Expression(text, frozenset(compiler.names), step)


class _Compiler:
    """Turns each node of the grammar into a function of the answers; what is not listed is refused."""

    def __init__(self, text: str, indent: int, outputs: Sequence[str]) -> None:
        self._bytes = text.encode("utf-8", "replace")
        self._indent = indent
        self._outputs = outputs
        self.names: set[str] = set()

    def compile(self, node: ast.expr, depth: int) -> Step:
        if depth > MAX_DEPTH:
            raise self._refused(node, f"expected at most {MAX_DEPTH} levels, came more")
        match node:
            case ast.Constant(value=bool() as value):
                return _constant(value)
            case ast.Constant(value=int() | float() as value):
                return self._number(node, value)
            case ast.Attribute(value=ast.Name(id="primary" | "candidate" as side), attr=name):
                return self._output(node, side, name)
            case ast.Subscript(
                value=ast.Name(id="primary" | "candidate" as side), slice=ast.Constant(value=str() as name)
            ):
                return self._output(node, side, name)
            case ast.Subscript(value=value, slice=index):
                return self._subscript(value, index, depth)
            case ast.BoolOp(op=op, values=values):
                return self._chain_of_truths(both if isinstance(op, ast.And) else either, values, depth)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _one(nots, self.compile(operand, depth + 1))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _one(negative, self.compile(operand, depth + 1))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return _one(number, self.compile(operand, depth + 1))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return _two(
                    ARITHMETIC[type(op)], self.compile(left, depth + 1), self.compile(right, depth + 1)
                )
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparison(node, [left, *comparators], ops, depth)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(node, name, arguments, depth)
        raise self._refused(
            node,
            f'expected outputs (primary.NAME, candidate.NAME or primary["NAME"]), numbers, + - * /, comparisons, '
            f"and, or, not, indices, and the functions {', '.join(FUNCTIONS)}; came {type(node).__name__}",
        )

    def _refused(self, node: ast.AST, problem: str) -> ManifestError:
        before = self._bytes[: getattr(node, "col_offset", 0)]
        return ManifestError(
            f"expression: column {self._indent + len(before.decode('utf-8', 'replace')) + 1}: {problem}"
        )

    def _number(self, node: ast.expr, value: float) -> Step:
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
        if not math.isfinite(found):
            raise self._refused(node, "expected a number that a float64 holds, came a larger one")
        return _constant(found)

    def _output(self, node: ast.expr, side: str, name: str) -> Step:
        if name not in self._outputs:
            raise self._refused(
                node, f"expected one of the outputs {', '.join(self._outputs)}, came {name!r:.80}"
            )
        self.names.add(name)
        if side == "primary":
            return lambda answers: answers.primary[name]
        return lambda answers: answers.candidate[name]

    def _subscript(self, value: ast.expr, index: ast.expr, depth: int) -> Step:
        parts = index.elts if isinstance(index, ast.Tuple) else [index]
        chosen = (slice(None), *(self._index(part) for part in parts))
        operand = self.compile(value, depth + 1)
        return _one(lambda found: array_of(found)[chosen], operand)

    def _index(self, node: ast.expr) -> int | slice:
        match node:
            case ast.Slice(lower=lower, upper=upper, step=step):
                bounds = [None if part is None else self._whole(part) for part in (lower, upper, step)]
                if bounds[2] == 0:
                    raise self._refused(node, "expected a step other than 0")
                return slice(*bounds)
            case _:
                return self._whole(node)

    def _whole(self, node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int() as value) if not isinstance(value, bool) and value < 1 << 62:
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)) if (
                not isinstance(value, bool) and value < 1 << 62
            ):
                return -value
        raise self._refused(node, f"expected whole numbers as indices, came {type(node).__name__}")

    def _chain_of_truths(self, operation: Operation, values: list[ast.expr], depth: int) -> Step:
        steps = [self.compile(value, depth + 1) for value in values]

        def evaluate(answers: Answers) -> Value:
            found = truth(steps[0](answers))
            for step in steps[1:]:
                found = operation(found, step(answers))
            return found

        return evaluate

    def _comparison(self, node: ast.expr, sides: list[ast.expr], ops: list[ast.cmpop], depth: int) -> Step:
        for op in ops:
            if type(op) not in COMPARISONS:
                raise self._refused(node, f"expected < <= > >= == or !=, came {type(op).__name__}")
        operations = [COMPARISONS[type(op)] for op in ops]
        steps = [self.compile(side, depth + 1) for side in sides]

        def evaluate(answers: Answers) -> Value:
            left = steps[0](answers)
            found: Value | None = None
            for operation, step in zip(operations, steps[1:], strict=True):
                right = step(answers)
                holds = operation(left, right)
                found = holds if found is None else both(found, holds)
                left = right
            assert found is not None
            return found

        return evaluate

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr], depth: int) -> Step:
        if name not in FUNCTIONS:
            raise self._refused(node, f"expected one of {', '.join(FUNCTIONS)}, came {name!r:.80}")
        by_count = FUNCTIONS[name]
        if len(arguments) not in by_count:
            takes = " or ".join(map(str, by_count))
            raise self._refused(node, f"expected {takes} values for {name}, came {len(arguments)}")
        if name == "top":
            k = self._whole(arguments[1])
            if not 1 <= k <= MAX_TOP:
                raise self._refused(
                    arguments[1], f"expected 1 to {MAX_TOP} as the second value of top, came {k}"
                )
            return _one(lambda found: top(found, k), self.compile(arguments[0], depth + 1))
        steps = [self.compile(argument, depth + 1) for argument in arguments]
        operation = by_count[len(arguments)]
        return lambda answers: operation(*(step(answers) for step in steps))


def _constant(value: Value) -> Step:
    return lambda _: value


def _one(operation: Operation, step: Step) -> Step:
    return lambda answers: operation(step(answers))


def _two(operation: Operation, left: Step, right: Step) -> Step:
    return lambda answers: operation(left(answers), right(answers))
