"""Compressed messages: what comes back, what is refused, and how much of a bomb is ever held."""

import contextlib
import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.rpc.compression import DEFLATE, GZIP, TooMuch, deflate, inflate

ENCODINGS = pytest.mark.parametrize("encoding", [GZIP, DEFLATE])


@given(st.sampled_from([GZIP, DEFLATE]), st.binary(max_size=5_000))
def test_comes_back(encoding: bytes, body: bytes) -> None:
    assert inflate(encoding, deflate(encoding, body), len(body)) == body


@ENCODINGS
def test_one_byte_over_the_limit(encoding: bytes) -> None:
    body = deflate(encoding, bytes(1_001))
    assert inflate(encoding, body, 1_001) == bytes(1_001)
    with pytest.raises(TooMuch):
        inflate(encoding, body, 1_000)


@ENCODINGS
def test_a_bomb_holds_no_more_than_a_few_times_the_limit(encoding: bytes) -> None:
    bomb = deflate(encoding, bytes(200 << 20))
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(TooMuch):
            inflate(encoding, bomb, 4 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


@ENCODINGS
@pytest.mark.parametrize("kept", [0, 1, 10, 100])
def test_cut_off(encoding: bytes, kept: int) -> None:
    body = deflate(encoding, b"".join(number.to_bytes(2) for number in range(1_000)))
    with pytest.raises(ValueError, match=f"the message's {encoding.decode()} stream is cut off"):
        inflate(encoding, body[:kept], 1 << 20)


@ENCODINGS
def test_cut_off_in_its_checksum(encoding: bytes) -> None:
    with pytest.raises(ValueError, match="is cut off"):
        inflate(encoding, deflate(encoding, b"whole")[:-1], 1 << 20)


@ENCODINGS
def test_bytes_after_its_end(encoding: bytes) -> None:
    with pytest.raises(ValueError, match="has bytes after its end"):
        inflate(encoding, deflate(encoding, b"whole") + b"x", 1 << 20)


def test_a_second_gzip_member_is_refused() -> None:
    with pytest.raises(ValueError, match="has bytes after its end"):
        inflate(GZIP, gzip.compress(b"one") + gzip.compress(b"two"), 1 << 20)


@ENCODINGS
def test_damaged(encoding: bytes) -> None:
    body = bytearray(deflate(encoding, b"something to damage, long enough for it"))
    body[-3] ^= 0x55
    with pytest.raises(ValueError, match=f"the message is no {encoding.decode()} stream"):
        inflate(encoding, bytes(body), 1 << 20)


def test_the_two_formats_are_not_taken_for_each_other_or_for_a_bare_stream() -> None:
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    streams = {GZIP: deflate(GZIP, b"a" * 99), DEFLATE: deflate(DEFLATE, b"a" * 99)}
    for encoding, other in ((GZIP, DEFLATE), (DEFLATE, GZIP)):
        for body in (streams[other], bare.copy().compress(b"a" * 99) + bare.copy().flush()):
            with pytest.raises(ValueError, match="stream"):
                inflate(encoding, body, 1 << 20)


@given(st.sampled_from([GZIP, DEFLATE]), st.binary(max_size=200))
def test_anything_is_inflated_or_refused(encoding: bytes, body: bytes) -> None:
    with contextlib.suppress(ValueError, TooMuch):
        assert len(inflate(encoding, body, 100)) <= 100
