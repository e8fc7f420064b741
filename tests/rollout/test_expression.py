"""Expressions over named outputs: what they say, what they refuse, and that nothing else is ever run."""

import ast
import re
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steelyard.errors import ManifestError
from steelyard.rollout.expression import Answers, compile_expression
from steelyard.rollout.operations import FUNCTIONS, NotComparable

OUTPUTS = ["probs", "boxes", "label", "name", "odd name", "größe"]
PRIMARY = {
    "probs": np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], np.float32),
    "boxes": np.arange(16, dtype=np.float32).reshape(2, 2, 4),
    "label": np.array([1, 0]),
    "name": np.array([b"cat", b"dog"], object),
    "odd name": np.array([3, 250], np.uint8),
    "größe": np.array([1.0, 2.0]),
}
CANDIDATE = PRIMARY | {
    "probs": np.array([[0.1, 0.6, 0.3], [0.2, 0.6, 0.2]], np.float32),
    "name": np.array([b"cat", b"cow"], object),
    "odd name": np.array([4, 0], np.uint8),
}


def evaluated(text: str) -> list[bool]:
    expression = compile_expression(text, OUTPUTS)
    with np.errstate(all="ignore"):
        return expression.evaluate(Answers(PRIMARY, CANDIDATE), 2).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("argmax(primary.probs) == argmax(candidate.probs)", [True, False]),
        ("primary.label == argmax(primary.probs)", [True, True]),
        ("max(abs(primary.probs - candidate.probs)) < 0.15", [True, False]),
        ("all(abs(primary.probs - candidate.probs) <= 0.15)", [True, False]),
        ("any(primary.probs > 0.6) or primary.label == 0", [True, True]),
        ("not primary.label == 1", [False, True]),
        ("primary.label != 1 and not True", [False, False]),
        ("0 < max(primary.probs) <= 0.6", [False, True]),
        ("abs(sum(primary.probs / sum(primary.probs)) - 1) < 1e-6", [True, True]),
        ('primary["odd name"] - candidate["odd name"] == -1', [True, False]),
        ('abs(primary["odd name"] - 1) > 100', [False, True]),
        ("primary.name == candidate.name", [True, False]),
        ("primary.name != candidate.name", [False, True]),
        ("primary.probs[0] < primary.probs[-1]", [True, False]),
        ("sum(primary.boxes[0, 2:]) == 5", [True, False]),
        ("top(primary.probs, 2)[0] - top(primary.probs, 2)[1] > 0.3", [True, False]),
        ("norm(primary.boxes[0, :2]) == 1", [True, False]),
        ("where(primary.label == 1, candidate.label, 0) == 1", [True, False]),
        ("min(primary.label, 1) == max(candidate.label, 0)", [True, True]),
        ("mean(primary.probs) > sqrt(0.04) and exp(log(max(primary.probs))) > 0.6", [True, False]),
        ("all(isfinite(primary.probs)) and not any(isnan(primary.probs))", [True, True]),
        ("-primary.label < +candidate.label", [True, False]),
        ("  primary.label\n  == candidate.label ", [True, True]),
        ("primary.label / 0 > 1", [True, False]),
        ("primary.label == candidate.label and 1 < 2", [True, True]),
    ],
)
def test_what_an_expression_says_of_each_row(text, rows):
    assert evaluated(text) == rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "column 1"),
        ("primary.probs ==", "column"),
        ("1 < 2", "expected an output"),
        ("primary.other > 1", r"column 1: expected one of the outputs probs, .*came 'other'"),
        ("primary.label > 0 and candidate.__class__ == 1", "column 23: expected one of the outputs"),
        ("primary.label.real > 0", "column 1: .*came Attribute"),
        ("primary > 0", "column 1: .*came Name"),
        ("  __import__('os').system('x')", "column 3: .*came Call"),
        ("open(primary.name)", "column 1: expected one of abs, .*came 'open'"),
        ("primary.label ** 9 ** 9 ** 9 > 1", "came BinOp"),
        ("primary.name * 100000000 == 1", None),
        ("'a' * 100000000 == primary.name", "came Constant"),
        ("primary.label % 2 == 0", "came BinOp"),
        ("primary.label << 60 == 0", "came BinOp"),
        ("[x for x in primary.label]", "came ListComp"),
        ("(lambda: primary.label)()", "came Call"),
        ("(x := primary.label) == 1", "came NamedExpr"),
        ("primary.label is 1", "came Is"),
        ("primary.label in 1", "came In"),
        ("f'{primary.label}' == 1", "came JoinedStr"),
        ("primary.label == 1 if True else False", "came IfExp"),
        ("sum(primary.probs, primary.probs)", "expected 1 values for sum, came 2"),
        ("sum(*primary.probs) > 1", "came Starred"),
        ("sum(primary.probs, axis=0)", "came Call"),
        ("top(primary.probs, 1000000)[0] > 1", "expected 1 to 1000"),
        ("top(primary.probs, primary.label)[0] > 1", "expected whole numbers"),
        ("primary.probs[primary.label] > 1", "expected whole numbers"),
        ("primary.probs[None] > 1", "expected whole numbers"),
        ("primary.probs[True] > 1", "expected whole numbers"),
        ("primary.probs[::0] > 1", "other than 0"),
        ("primary.label > 1e999", "a number that a float64 holds"),
        ("primary.label > " + "9" * 400, "a number that a float64 holds"),
        ("primary.label > " + "1 + " * 300, "at most 1000 characters"),
        ("primary.label > " + "-" * 300 + "1", "levels"),
        ("(" * 400 + "primary.label" + ")" * 400, "expected an expression"),
        ("primary.label > 1\0", "expected an expression"),
        ("primary['\ud800'] > 1", "expected an expression"),
        ("primary.label > 1j", "came Constant"),
        ("primary.label > ...", "came Constant"),
        ("primary.label > None", "came Constant"),
        ("primary.größe == 1 or x", "column 23: .*came Name"),
        ("primary.name == candidate.name or x", "column 35: "),
        ("primary.label > 0 and 'ä' == 1", "column 23: "),
    ],
)
def test_what_is_no_expression_is_refused_by_its_column(text, says):
    if says is None:
        with pytest.raises(NotComparable):
            evaluated(text)
        return
    with pytest.raises(ManifestError, match=says):
        compile_expression(text, OUTPUTS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("primary.probs > 0.5", r"expected true or false for each row, came bool of shape \[2, 3\]"),
        ("sum(primary.probs)", "came float64 of shape"),
        ("primary.label and True", "expected true or false, came int64"),
        ("primary.name + primary.name == 1", "came bytes"),
        ("primary.name < candidate.name", "came bytes"),
        ("primary.name == 1", "values that can be compared"),
        ("all(primary.boxes == primary.probs)", "shapes that fit"),
        ("primary.probs[7] > 0", "out of bounds"),
        ("primary.label[0] > 0", "too many indices"),
        ("sum(1) > primary.label", "expected the values of an output"),
        ("max(primary.boxes[3:]) > 0", "zero-size"),
    ],
)
def test_what_cannot_be_worked_out_says_why(text, says):
    with pytest.raises(NotComparable, match=says):
        evaluated(text)


def test_the_page_names_every_function_and_its_example_is_one():
    page = (Path(__file__).parents[2] / "docs" / "rollout.md").read_text(encoding="utf-8")
    listed = page.split("### Expressions")[1].split("###")[0]
    for name in FUNCTIONS:
        assert re.search(rf"`{name}\b", listed), name
    (example_text,) = re.findall(r'^expression = "(.*)"$', page, re.MULTILINE)
    assert compile_expression(example_text, ["scores", "boxes"]).names == {"scores", "boxes"}


def test_no_value_grows_beyond_the_largest_that_it_is_made_of():
    # [1000, 1] against [1, 1000] within one row would be a million values out of two thousand.
    column = {"a": np.ones((1, 1000, 1)), "b": np.ones((1, 1, 1000))}
    expression = compile_expression("all(primary.a == primary.b)", ["a", "b"])
    with pytest.raises(NotComparable, match="shapes that fit"):
        expression.evaluate(Answers(column, column), 1)


TOKENS = [
    *FUNCTIONS,
    *("primary", "candidate", ".probs", ".label", ".name", '["odd name"]', "[0]", "[:2]", "[", "]", "(", ")"),
    *("+", "-", "*", "/", "**", "%", "<", "==", "!=", "and", "or", "not", "1", "2.5", "True", "None", ","),
    *("lambda", "x", "if", "else", "for", "in", "is", ":=", "'a'", ".__class__", "@", "await", "yield", "\n"),
]
ALLOWED = (
    *(ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.Call, ast.Constant, ast.Attribute, ast.Subscript),
    *(ast.Name, ast.Slice, ast.Tuple, ast.Expression),
    *(ast.boolop, ast.unaryop, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.expr_context),
    *(ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq),
)


@settings(max_examples=1000)
@example("primary.label == candidate.label")
@given(
    st.text(max_size=60)
    | st.text(string.printable, max_size=60)
    | st.lists(st.sampled_from(TOKENS), max_size=20).map(" ".join)
    | st.lists(st.sampled_from(TOKENS), max_size=20).map("".join)
)
def test_random_text_is_refused_or_holds_nothing_but_what_is_listed(text):
    try:
        expression = compile_expression(text, OUTPUTS)
    except ManifestError:
        return
    tree = ast.parse(text.translate(str.maketrans("\r\n\t\f\v", "     ")).strip(" "), mode="eval")
    for node in ast.walk(tree):
        assert isinstance(node, ALLOWED)
        if isinstance(node, ast.Name):
            assert node.id in FUNCTIONS or node.id in ("primary", "candidate")
    try:
        with np.errstate(all="ignore"):
            kept = expression.evaluate(Answers(PRIMARY, CANDIDATE), 2)
    except NotComparable:
        return
    assert kept.shape == (2,)
    assert kept.dtype == np.bool_


LEAVES = st.sampled_from(
    [
        "primary.probs",
        "candidate.probs",
        "primary.label",
        "primary.boxes",
        'primary["odd name"]',
        "primary.name",
        "2",
        "0.5",
        "True",
    ]
)
GROWN = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "<", "==", "!=", "and", "or"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(st.sampled_from([*FUNCTIONS]), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(st.sampled_from(["min", "max", "where"]), inner, inner, inner).map(
            lambda parts: f"{parts[0]}({', '.join(parts[1:])})"
        ),
        inner.map(lambda text: f"not {text}"),
        inner.map(lambda text: f"{text}[0]"),
    ),
    max_leaves=12,
)


@settings(max_examples=500)
@given(GROWN)
def test_whatever_can_be_written_gives_truths_or_says_why_not(text):
    try:
        expression = compile_expression(text, OUTPUTS)
    except ManifestError:
        return
    try:
        with np.errstate(all="ignore"):
            kept = expression.evaluate(Answers(PRIMARY, CANDIDATE), 2)
            alone = [
                expression.evaluate(
                    Answers(
                        *({name: side[name][row : row + 1] for name in side} for side in (PRIMARY, CANDIDATE))
                    ),
                    1,
                )[0]
                for row in range(2)
            ]
    except NotComparable:
        return
    assert kept.tolist() == alone
