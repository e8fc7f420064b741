"""The grpc-timeout header."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steelyard.rpc.timeouts import MAX_NS, format_timeout, parse_timeout
from tests.rpc.peers import UNARY, Pair

LONGEST_NS = 99_999_999 * 3_600_000_000_000


@pytest.mark.parametrize(
    ("value", "expected_ns"),
    [
        (b"0n", 0),
        (b"1n", 1),
        (b"2u", 2_000),
        (b"250m", 250_000_000),
        (b"3S", 3_000_000_000),
        (b"4M", 240_000_000_000),
        (b"00000005H", 18_000_000_000_000),
        (b"555555H", 555_555 * 3_600_000_000_000),
        (b"99999999S", 99_999_999 * 1_000_000_000),
        (b"99999999M", MAX_NS),
        (b"99999999H", MAX_NS),
    ],
)
def test_reads(value: bytes, expected_ns: int) -> None:
    assert parse_timeout(value) == expected_ns


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"m",
        b"5",
        b"5x",
        b"-1m",
        b"+1m",
        b"1.5S",
        b"1 m",
        b" 1m",
        b"1_0m",
        b"123456789n",
        b"\xb2m",
        b"\xff",
    ],
)
def test_refuses(value: bytes) -> None:
    with pytest.raises(
        ValueError, match="expected one to eight digits and one of the units H, M, S, m, u, n"
    ):
        parse_timeout(value)


@given(st.binary(max_size=12))
def test_reads_or_refuses_anything(value: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_timeout(value) <= MAX_NS


@given(st.integers(0, 99_999_999), st.sampled_from("numSMH"))
@example(99_999_999, "H")
@example(99_999_999, "M")
def test_what_is_native_reads_the_same(count: int, unit: str) -> None:
    value = b"%d%c" % (count, ord(unit))
    pair = Pair()
    stream_id = pair.ask(UNARY, (b"grpc-timeout", value))
    pair.pump()
    assert pair.server.calls[stream_id].timeout_ns == parse_timeout(value)


@given(st.integers(0, MAX_NS))
def test_is_read_as_it_was_written_or_a_little_longer(timeout_ns: int) -> None:
    read_ns = parse_timeout(format_timeout(timeout_ns))
    assert timeout_ns <= read_ns
    # A unit is at most 3,600 of the one before it, and eight digits of that did not hold it.
    assert read_ns - timeout_ns <= timeout_ns // (99_999_999 // 3_600)


def test_the_longest_stands_for_what_is_longer() -> None:
    assert format_timeout(LONGEST_NS + 1) == b"99999999H"
    with pytest.raises(ValueError, match="expected a timeout of zero or more, came -1 ns"):
        format_timeout(-1)
