"""The native program of features, against its twin, bit for bit."""

import enum
import math
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard._native import tabular as native
from steelyard.pipelines.plain import tabular as plain
from steelyard.pipelines.plain.xxh64 import xxh64
from steelyard.pipelines.tabular import operations
from steelyard.pipelines.tabular.operations import (
    KEEP_MISSING,
    OUTPUT_TYPES,
    Chain,
    Code,
    Operation,
    Part,
    State,
    Unknown,
    state_after,
)

# XXH64 of the xxHash specification's own examples, seed 0.
HASHES = {b"": 0xEF46DB3751D8E999, b"a": 0xD24EC4F1A98C6E5B, b"abc": 0x44BC2CF5AD770999}

real = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324, 1e308])
whole = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
us = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
word = st.sampled_from([b"", b"a", b"UA", b"JFK", b"x" * 40]) | st.binary(max_size=50)
keys = st.lists(word, unique=True, max_size=20)


def column(state: State, values: list[Any]) -> tuple[Any, ...]:
    """A source whose None are missing values."""
    missing = np.array([value is None for value in values], bool)
    if state is State.NUMBER:
        return np.array([0.0 if v is None else v for v in values], "<f8"), missing
    if state is State.INTEGER:
        return np.array([0 if v is None else v for v in values], "<i8"), missing
    texts = [b"" if v is None else v for v in values]
    lengths = np.array([len(text) for text in texts], "<i8")
    starts = (np.cumsum(lengths) - lengths + 3).astype("<i8")
    return starts, missing, lengths, b"..." + b"".join(texts) + b"?"


@st.composite
def operation(draw: st.DrawFn, state: State) -> tuple[Code, dict[str, Any]]:
    """An operation that can follow `state`, but for DATE_PART, whose values are bounded by who reads them."""
    code = draw(
        st.sampled_from([c for c in Code if state_after(c, state) is not None and c is not Code.DATE_PART])
    )
    fields: dict[str, Any] = {}
    if code in (Code.IMPUTE_NUMBER, Code.SUBTRACT, Code.MULTIPLY, Code.ADD, Code.DIVIDE):
        fields["a"] = draw(real)
    elif code is Code.CLIP:
        fields["a"], fields["b"] = sorted((draw(real), draw(real)))
    elif code is Code.IMPUTE_INTEGER:
        fields["n"] = draw(whole)
    elif code is Code.IMPUTE_TEXT:
        fields["data"] = draw(word)
    elif code is Code.BUCKET:
        fields["data"] = np.array(sorted(draw(st.lists(real, max_size=9))), "<f8")
    elif code is Code.HASH:
        fields["n"], fields["m"] = draw(st.integers(1, 1000)), draw(st.integers(0, 2**63 - 1))
    elif code is Code.LOOKUP:
        fields["n"] = draw(st.sampled_from(Unknown))
        fields["m"] = draw(st.integers(-1, 9))
        fields["k"] = draw(st.sampled_from([KEEP_MISSING, -1, 4]))
        if state is State.TEXT:
            fields["data"] = draw(keys)
        else:
            kind, values = ("<f8", real) if state is State.NUMBER else ("<i8", whole)
            array = np.array(draw(st.lists(values, max_size=9)), kind)
            fields["data"] = list({(v + 0.0 if state is State.NUMBER else v).tobytes(): None for v in array})
    return code, fields


@st.composite
def chains(draw: st.DrawFn, states: list[State], datatype: str) -> tuple[list[tuple[Any, ...]], int]:
    """Chains over columns of these states, and the width of their output."""
    found = []
    offset = 0
    for number in draw(st.lists(st.integers(0, len(states) - 1), min_size=1, max_size=4)):
        state = states[number]
        steps = []
        for _ in range(draw(st.integers(0, 4))):
            step = draw(operation(state))
            after = state_after(step[0], state)
            assert after is not None
            state = after
            steps.append(step)
        if state is State.TEXT or (datatype == "INT64" and state is State.NUMBER):
            steps.append((Code.IS_MISSING, {}))
            state = State.INTEGER
        one_hot = draw(st.sampled_from([0, 1, 5])) if state is State.INTEGER else 0
        found.append((number, states[number], steps, offset, one_hot))
        offset += max(1, one_hot)
    return found, offset


def built(module: Any, drawn: list[tuple[Any, ...]]) -> list[Chain]:
    """The chains with vocabularies of the native module, or of the twin."""
    made = []
    for number, state, steps, offset, one_hot in drawn:
        done = []
        for code, fields in steps:
            data = fields.get("data")
            if code is Code.LOOKUP:
                data = module.Vocabulary(data, [(3 * i) % 7 - 1 for i in range(len(data))])
            done.append(Operation(code, **{**fields, "data": data}))
        made.append(Chain(number, state, tuple(done), offset, one_hot))
    return made


@settings(deadline=None)
@given(st.data())
def test_native_and_twin_agree_bit_for_bit(data: st.DataObject) -> None:
    states = data.draw(st.lists(st.sampled_from(State), min_size=1, max_size=3))
    datatype = data.draw(st.sampled_from(list(OUTPUT_TYPES)))
    drawn, width = data.draw(chains(states, datatype))
    rows = data.draw(st.integers(0, 6) | st.sampled_from([127, 128, 129, 300]))
    values = {State.NUMBER: real | st.just(math.nan), State.INTEGER: whole, State.TEXT: word}
    pools = [data.draw(st.lists(st.none() | values[state], min_size=1, max_size=12)) for state in states]
    sources = [
        column(state, [pool[i % len(pool)] for i in range(rows)])
        for state, pool in zip(states, pools, strict=True)
    ]
    start = data.draw(st.integers(0, rows))
    results = []
    for module in (native, plain):
        program = module.Program(built(module, drawn), len(states), width, datatype)
        out = np.full((rows - start, width), 7, OUTPUT_TYPES[datatype])
        breaches = program.run(sources, start, rows - start, out)
        assert sorted(program.run(sources, start, rows - start, None)) == sorted(breaches)
        results.append((bits(out), sorted(breaches)))
    assert results[0] == results[1]


@pytest.mark.parametrize("module", [native, plain])
def test_a_nought_within_bounds_keeps_its_sign(module: Any) -> None:
    for least, greatest in ((0.0, 0.0), (-0.0, 1.0), (-1.0, -0.0)):
        clip = Chain(0, State.NUMBER, (Operation(Code.CLIP, a=least, b=greatest),), 0, 0)
        out = np.empty((2, 1))
        module.Program([clip], 1, 1, "FP64").run([column(State.NUMBER, [-0.0, 0.0])], 0, 2, out)
        assert np.signbit(out[:, 0]).tolist() == [True, False]


def bits(array: Any) -> bytes:
    """The bytes of an array, with every NaN the same one."""
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return array.tobytes()


@settings(deadline=None)
@given(st.lists(us | st.none(), max_size=40), st.sampled_from(Part))
def test_parts_of_dates(values: list[int | None], part: Part) -> None:
    results = []
    for module in (native, plain):
        chain = Chain(0, State.INTEGER, (Operation(Code.DATE_PART, n=part),), 0)
        out = np.empty((len(values), 1), "<i8")
        module.Program([chain], 1, 1, "INT64").run([column(State.INTEGER, values)], 0, len(values), out)
        results.append(out.tobytes())
    assert results[0] == results[1]


@given(whole, st.sampled_from(Part))
def test_parts_of_any_number_stay_within_their_bounds(value: int, part: Part) -> None:
    chain = Chain(0, State.INTEGER, (Operation(Code.DATE_PART, n=part),), 0)
    out = np.empty((1, 1), "<i8")
    native.Program([chain], 1, 1, "INT64").run([column(State.INTEGER, [value])], 0, 1, out)
    least, most = {
        Part.YEAR: (-300_000, 300_000),
        Part.MONTH: (1, 12),
        Part.DAY: (1, 31),
        Part.WEEKDAY: (0, 6),
        Part.HOUR: (0, 23),
        Part.MINUTE: (0, 59),
    }[part]
    assert least <= out[0, 0] <= most


@given(st.sampled_from(Code), st.sampled_from(State))
def test_the_native_program_refuses_what_cannot_follow(code: Code, state: State) -> None:
    data = {
        Code.LOOKUP: native.Vocabulary([], []),
        Code.BUCKET: np.zeros(0),
        Code.IMPUTE_TEXT: b"",
    }.get(code)
    operations = (Operation(code, n=1, data=data), Operation(Code.IS_MISSING))
    if state_after(code, state) is None:
        with pytest.raises(ValueError, match="cannot stand"):
            native.Program([Chain(0, state, operations, 0)], 1, 1, "FP32")
    else:
        native.Program([Chain(0, state, operations, 0)], 1, 1, "FP32")


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_hash_agrees(data: bytes, seed: int) -> None:
    assert native.hash_bytes(data, seed) == xxh64(data, seed)


@pytest.mark.parametrize(("data", "expected"), HASHES.items())
def test_hash_is_xxh64(data: bytes, expected: int) -> None:
    assert native.hash_bytes(data) == xxh64(data) == expected


@given(keys, word)
def test_vocabularies_agree(words: list[bytes], other: bytes) -> None:
    values = [7 - i for i in range(len(words))]
    mine, twin = native.Vocabulary(words, values), plain.Vocabulary(words, values)
    assert len(mine) == len(twin) == len(words)
    assert [mine.find(word) for word in [*words, other]] == [twin.find(word) for word in [*words, other]]


def test_a_million_categories() -> None:
    words = [b"category %d" % i for i in range(1_000_000)]
    vocabulary = native.Vocabulary(words, range(len(words)))
    assert [vocabulary.find(words[i]) for i in (0, 499_999, 999_999)] == [0, 499_999, 999_999]
    assert vocabulary.find(b"category 1000000") is None


def test_a_category_listed_twice() -> None:
    with pytest.raises(ValueError, match="b'a' is listed twice"):
        native.Vocabulary([b"a", b"b", b"a"], [0, 1, 2])


def value_program(state: State = State.NUMBER, width: int = 1) -> Any:
    operations = (Operation(Code.IS_MISSING),) if state is State.TEXT else ()
    return native.Program([Chain(0, state, operations, 0)], 1, width, "FP32")


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ((np.zeros(3), np.zeros(4, bool)), np.zeros((4, 1), "f4"), "columns of 4 rows"),
        ((np.zeros(4), np.zeros(3, bool)), np.zeros((4, 1), "f4"), "columns of 4 rows"),
        (
            (np.zeros(4), np.zeros(4, bool)),
            np.zeros((3, 1), "f4"),
            "4 rows of 1 features do not fit 12 bytes",
        ),
        ((np.zeros(4),), np.zeros((4, 1), "f4"), "came 1 buffers"),
        (
            (np.frombuffer(bytearray(33), "u1")[1:], np.zeros(4, bool)),
            np.zeros((4, 1), "f4"),
            "aligned to 8 bytes",
        ),
    ],
)
def test_buffers_that_are_too_small_are_refused(source: tuple[Any, ...], out: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        value_program().run([source], 0, 4, out)


@pytest.mark.parametrize(("start", "length"), [(0, 6), (5, 1), (-1, 1), (0, -1), (2**62, 2**62)])
def test_a_text_outside_its_data_is_refused(start: int, length: int) -> None:
    source = (np.array([start]), np.zeros(1, bool), np.array([length]), b"12345")
    with pytest.raises(ValueError, match="outside its data"):
        value_program(State.TEXT).run([source], 0, 1, np.zeros((1, 1), "f4"))


@pytest.mark.parametrize(("start", "rows"), [(-1, 1), (0, -1), (2**62, 2**62), (1, 2**63 - 1)])
def test_rows_out_of_bounds_are_refused(start: int, rows: int) -> None:
    with pytest.raises(ValueError, match=r"no rows from|expected columns of"):
        value_program().run([(np.zeros(4), np.zeros(4, bool))], start, rows, np.zeros((4, 1), "f4"))


@pytest.mark.parametrize("chain", [Chain(1, State.NUMBER, (), 0), Chain(0, State.NUMBER, (), 1)])
def test_chains_outside_columns_or_features_are_refused(chain: Chain) -> None:
    with pytest.raises(ValueError, match=r"no column|ends outside"):
        native.Program([chain], 1, 1, "FP32")


def test_many_breaches_name_each_row() -> None:
    """Beyond the bound on pairs, each further row is still named once."""
    rows = 20_000
    refuse = (Operation(Code.REFUSE_MISSING),)
    program = native.Program([Chain(0, State.NUMBER, refuse, i) for i in range(2)], 1, 2, "FP32")
    source = (np.zeros(rows), np.ones(rows, bool))
    breaches = program.run([source], 0, rows, None)
    assert {row for row, _, _ in breaches} == set(range(rows))
    assert len(breaches) < rows + 16_384 + 1


def test_threads_share_a_program() -> None:
    program = value_program()
    source = (np.arange(10_000.0), np.zeros(10_000, bool))
    outs = [np.zeros((10_000, 1), "f4") for _ in range(4)]
    threads = [threading.Thread(target=program.run, args=([source], 0, 10_000, out)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((out[:, 0] == source[0]).all() for out in outs)


def test_enumerations_are_dense() -> None:
    """The native program knows them by number."""
    numbered: list[tuple[type[enum.IntEnum], int]] = [
        (operations.Code, 1),
        (operations.State, 0),
        (operations.Unknown, 0),
        (operations.Part, 0),
        (operations.Rule, 1),
    ]
    for kind, first in numbered:
        assert list(kind) == list(range(first, first + len(kind)))
    assert native.OUTPUT_TYPES.keys() == OUTPUT_TYPES.keys()
