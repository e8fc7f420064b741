"""Frames between a worker and a shadow: exact both ways over a real socket, and bounded whatever comes."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import DataError
from steelyard.rollout.frames import (
    ACK,
    HEADER,
    MAGIC,
    UNIT,
    Asked,
    Unit,
    decode_unit,
    encode_ack,
    encode_unit,
    read_frame,
    send_frame,
)

LIMIT = 1 << 20
asked = st.builds(
    Asked,
    st.text("0123456789abcdef-", min_size=36, max_size=36),
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.integers(0, 16),
)
units = st.builds(
    Unit,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32),
    st.integers(0, 2**63),
    st.lists(asked, min_size=1, max_size=5),
)


def encoded(unit: Unit) -> list[bytes]:
    return encode_unit(unit.sequence, unit.rows, unit.execute_ns, unit.asked)


@contextlib.contextmanager
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def read_all(content: bytes, limit: int = LIMIT) -> tuple[int, int, bytes] | None:
    """What is read of a stream that holds `content` and then ends."""
    with sockets() as (ours, theirs):
        ours.sendall(content)
        ours.shutdown(socket.SHUT_WR)
        return read_frame(theirs, limit)


@given(units)
def test_a_unit_comes_back_as_it_was(unit: Unit) -> None:
    frame = read_all(b"".join(encoded(unit)))
    assert frame is not None
    assert frame[0] == UNIT
    assert decode_unit(frame[2]) == unit


@given(st.integers(0, 2**64 - 1))
def test_an_acknowledgement_comes_back(sequence: int) -> None:
    assert read_all(encode_ack(sequence)) == (ACK, sequence, b"")


@given(units, st.data())
def test_a_stream_that_ends_within_a_frame_is_no_frame(unit: Unit, data: st.DataObject) -> None:
    whole = b"".join(encoded(unit))
    assert read_all(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None


@given(units, st.data())
def test_a_unit_that_was_cut_or_lengthened_is_refused(unit: Unit, data: st.DataObject) -> None:
    payload = b"".join(encoded(unit))[HEADER.size :]
    with pytest.raises(DataError):
        decode_unit(payload[: data.draw(st.integers(0, len(payload) - 1))])
    with pytest.raises(DataError):
        decode_unit(payload + b"x")


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_no_unit(content: bytes) -> None:
    with contextlib.suppress(DataError):
        read_all(content)
    with contextlib.suppress(DataError):
        decode_unit(content)


@given(units, st.integers(0, 10_000), st.integers(0, 255))
def test_a_unit_with_a_wrong_byte_is_refused_or_another_unit(unit: Unit, place: int, byte: int) -> None:
    payload = bytearray(b"".join(encoded(unit))[HEADER.size :])
    payload[place % len(payload)] = byte
    with contextlib.suppress(DataError):
        decode_unit(bytes(payload))


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(DataError, match=f"at most {LIMIT} bytes, got {2**60}"):
        read_all(HEADER.pack(MAGIC, UNIT, 2**60))


@pytest.mark.parametrize("count", [0, 1 << 16, 0xFFFFFFFF])
def test_a_unit_of_more_requests_than_it_has_room_for_is_refused(count: int) -> None:
    with pytest.raises(DataError, match="requests that are all there"):
        decode_unit(struct.pack("<QQQI", 1, 1, 1, count))


def test_a_unit_of_many_large_requests_arrives_whole() -> None:
    unit = Unit(7, 3000, 5, [Asked(f"{i:036d}", bytes([i % 256]) * 3000, b"a" * i) for i in range(3000)])
    with sockets() as (ours, theirs):
        sender = threading.Thread(target=send_frame, args=(ours, encoded(unit)))
        sender.start()
        frame = read_frame(theirs, 1 << 30)
        sender.join()
    assert frame is not None
    assert decode_unit(frame[2]) == unit
