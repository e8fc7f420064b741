"""The native checks of a data contract, against their twin, cell by cell."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native import tabular as native
from steelyard.pipelines.plain import checks as plain
from steelyard.pipelines.plain.tabular import Vocabulary
from steelyard.pipelines.tabular.operations import CellCheck, CellRule, State
from tests.pipelines.test_tabular_program import column

real = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 2.0])
whole = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
word = st.sampled_from([b"", b"a", b"UA", b"x" * 40]) | st.binary(max_size=12)
VALUES: dict[State, Any] = {State.NUMBER: real, State.INTEGER: whole, State.TEXT: word}


def key(state: State, value: Any) -> bytes:
    if state is State.TEXT:
        return bytes(value)
    return np.float64(value + 0.0).tobytes() if state is State.NUMBER else np.int64(value).tobytes()


@st.composite
def check(draw: st.DrawFn, state: State) -> tuple[dict[str, Any], list[bytes] | None]:
    fields: dict[str, Any] = {
        "state": state,
        "refuses_missing": draw(st.booleans()),
        "fills_missing": draw(st.booleans()),
    }
    if state is State.TEXT:
        fields["max_bytes"] = draw(st.none() | st.integers(0, 20))
    else:
        fields["least"] = draw(st.none() | VALUES[state])
        fields["greatest"] = draw(st.none() | VALUES[state])
    values = draw(st.none() | st.lists(VALUES[state], max_size=6))
    return fields, None if values is None else list(dict.fromkeys(key(state, value) for value in values))


@given(st.data())
def test_native_and_plain_find_the_same(data: st.DataObject) -> None:
    states = data.draw(st.lists(st.sampled_from(State), max_size=4))
    rows = data.draw(st.integers(0, 12))
    columns = [
        data.draw(st.lists(st.none() | VALUES[state], min_size=rows, max_size=rows)) for state in states
    ]
    declared = [data.draw(check(state)) for state in states]
    sources = [column(state, values) for state, values in zip(states, columns, strict=True)]
    results = []
    for module, vocabulary in ((native, native.Vocabulary), (plain, Vocabulary)):
        checks = [
            CellCheck(**fields, words=None if keys is None else vocabulary(keys, [0] * len(keys)))
            for fields, keys in declared
        ]
        broken = np.full((len(states), rows), 99, np.uint8)
        found = module.Checks(checks).run(sources, rows, broken)
        assert found == np.count_nonzero(broken)
        results.append(broken)
    assert np.array_equal(*results)


def test_what_each_rule_is() -> None:
    checks = native.Checks([CellCheck(State.NUMBER, True, False, 0.0, 1.0)])
    broken = np.zeros((1, 5), np.uint8)
    source = column(State.NUMBER, [0.5, None, -1.0, 2.0, float("inf")])
    assert checks.run([source], 5, broken) == 4
    assert broken[0].tolist() == [0, CellRule.MISSING, CellRule.BELOW, CellRule.ABOVE, CellRule.ABOVE]


def test_buffers_that_are_too_small_and_texts_outside_are_refused() -> None:
    checks = native.Checks([CellCheck(State.TEXT, max_bytes=1)])
    source = column(State.TEXT, [b"ab", b"c"])
    with pytest.raises(ValueError, match="do not fit"):
        checks.run([source], 2, np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="expected columns of 3 rows"):
        checks.run([source], 3, np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="expected 1 columns"):
        checks.run([], 2, np.zeros(2, np.uint8))
    outside = (np.array([90]), np.zeros(1, bool), np.array([20]), b"short")
    with pytest.raises(ValueError, match="outside its data"):
        checks.run([outside], 1, np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="texts have no range"):
        native.Checks([CellCheck(State.TEXT, least=1.0)])


def test_many_rows_by_several_threads() -> None:
    checks = native.Checks([CellCheck(State.INTEGER, least=0, greatest=9)])
    values = np.arange(100_000) % 11
    source = (values.astype("<i8"), np.zeros(len(values), bool))
    results = []

    def run() -> None:
        broken = np.empty((1, len(values)), np.uint8)
        checks.run([source], len(values), broken)
        results.append(broken)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = np.where(values == 10, CellRule.ABOVE, 0)
    assert all(np.array_equal(broken[0], wanted) for broken in results)


def test_elements_of_any_bytes() -> None:
    data = b"\x02\x00\x00\x00\xff\xfe" + b"\x00\x00\x00\x00"
    starts, lengths = np.zeros(2, np.int64), np.zeros(2, np.int64)
    native.split_elements_of(data, starts, lengths)
    assert (starts.tolist(), lengths.tolist()) == ([4, 10], [2, 0])
    with pytest.raises(ValueError, match="expected 2 elements"):
        native.split_elements_of(data + b"\x00", starts, lengths)
