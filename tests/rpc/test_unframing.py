"""Messages out of bytes, in whatever pieces they come."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard._native.rpc import Unframer
from steelyard.rpc import codes
from steelyard.rpc.framing import PREFIX_BYTES, FramingError, frame, prefix
from steelyard.rpc.plain.unframing import Unframer as PlainUnframer
from tests.rpc.peers import cut

MESSAGES = st.lists(
    st.tuples(st.one_of(st.binary(max_size=50), st.integers(0, 9_000).map(bytes)), st.booleans()), max_size=6
)
PIECES = st.lists(st.integers(1, 5_000), max_size=6)


@settings(deadline=None)
@given(MESSAGES, PIECES)
def test_any_pieces_give_the_same_messages(messages: list[tuple[bytes, bool]], pieces: list[int]) -> None:
    unframer = Unframer(9_000)
    data = b"".join(frame(body, compressed) for body, compressed in messages)
    found = []
    for piece in cut(data, pieces):
        found += unframer.feed(piece)
    assert found == messages
    assert all(type(body) is bytes for body, _ in found)
    assert unframer.held == 0


@settings(deadline=None)
@given(MESSAGES, PIECES, st.binary(max_size=4))
def test_what_is_not_whole_is_held_and_counted(
    messages: list[tuple[bytes, bool]], pieces: list[int], rest: bytes
) -> None:
    unframer = Unframer(9_000)
    for piece in cut(b"".join(frame(*message) for message in messages), pieces):
        unframer.feed(piece)
    assert unframer.feed(rest) == []
    assert unframer.held == len(rest)
    begun = prefix(bytes(100))[len(rest) :] + bytes(99) if rest == prefix(bytes(100))[: len(rest)] else b""
    if begun:
        unframer.feed(begun)
        assert unframer.held == 99
    unframer.drop()
    assert unframer.held == 0
    assert unframer.feed(frame(b"new")) == [(b"new", False)]


@settings(deadline=None)
@given(st.integers(101, (1 << 32) - 1), st.booleans(), st.lists(st.integers(1, 4), max_size=3))
def test_too_long_is_refused_when_its_prefix_says_so(
    length: int, compressed: bool, pieces: list[int]
) -> None:
    unframer = Unframer(100)
    announced = bytes([compressed]) + length.to_bytes(4)
    *before, last = cut(announced, pieces)
    for piece in before:
        assert unframer.feed(piece) == []
    with pytest.raises(
        FramingError, match=f"the message has {length} bytes, and the limit is 100"
    ) as refused:
        unframer.feed(last)
    assert refused.value.code == codes.RESOURCE_EXHAUSTED


def test_the_longest_that_may_be() -> None:
    assert Unframer(100).feed(frame(bytes(100))) == [(bytes(100), False)]


@settings(deadline=None)
@given(st.integers(2, 255))
def test_a_flag_that_is_none(flag: int) -> None:
    with pytest.raises(FramingError, match=f"a message begins with 0 or 1, this one with {flag}") as refused:
        Unframer(100).feed(bytes([flag]) + bytes(PREFIX_BYTES - 1))
    assert refused.value.code == codes.INTERNAL


@pytest.mark.parametrize("length", [1, 7, 100, 1_500])
def test_a_message_in_tiny_pieces_costs_little_more_than_its_bytes(length: int) -> None:
    size = 400_000
    unframer = Unframer(size)
    unframer.feed(prefix(bytes(size)))
    tracemalloc.start()
    try:
        for _ in range(0, size - length, length):
            unframer.feed(bytes(length))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * size


def test_nothing_is_reserved_for_what_is_only_announced() -> None:
    unframer = Unframer(1 << 30)
    tracemalloc.start()
    try:
        unframer.feed(b"\0\x3f\xff\xff\xff" + b"x")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10_000
    assert unframer.held == 1


@settings(deadline=None)
@given(st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=12), MESSAGES, PIECES)
def test_it_does_what_its_plain_twin_does(
    noise: bytes, cuts: list[int], messages: list[tuple[bytes, bool]], pieces: list[int]
) -> None:
    whole = b"".join(frame(*message) for message in messages)
    for data, parts in ((noise, cuts), (whole + noise, pieces), (whole[:-1] + noise, pieces)):
        assert _told(Unframer(9_000), data, parts) == _told(PlainUnframer(9_000), data, parts)


def _told(unframer: Unframer | PlainUnframer, data: bytes, pieces: list[int]) -> list[object]:
    told: list[object] = []
    for piece in cut(data, pieces):
        try:
            told.append((unframer.feed(piece), unframer.held, unframer.in_message))
        except FramingError as refused:
            told.append((refused.code, str(refused)))
            break
    return told
