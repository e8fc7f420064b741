"""Where frames begin and end, told by the native part and by its twin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native import rpc
from steelyard.rpc.plain import frames as plain
from tests.attacks.frames import CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PREFACE, frame
from tests.rpc.peers import cut

BLOCK = [frame(HEADERS, b"abc"), frame(CONTINUATION), frame(CONTINUATION, b"de", flags=END_HEADERS)]

wholes = st.sampled_from(
    [
        frame(DATA, bytes(300), flags=END_HEADERS, stream_id=1),
        frame(DATA),
        frame(PING, bytes(8)),
        frame(HEADERS, bytes(20), flags=END_HEADERS | 1, stream_id=3),
        frame(0xFF, b"\x01\x09" * 40),
        b"".join(BLOCK),
    ]
)


@given(st.lists(wholes, max_size=8), st.lists(st.integers(1, 60), max_size=6))
def test_what_is_open_has_begun_in_the_epoch_that_is_told(parts: list[bytes], lengths: list[int]) -> None:
    ends, at = {0}, 0
    for part in [PREFACE, *parts]:
        at += len(part)
        ends.add(at)
    native, twin = rpc.Frames(), plain.Frames()
    heard, begun_in = 0, {}
    for epoch, piece in enumerate(cut(PREFACE + b"".join(parts), lengths)):
        native.epoch = twin.epoch = epoch
        native.take(piece)
        twin.take(piece)
        begun_in.update({place: epoch for place in ends if heard <= place < heard + len(piece)})
        heard += len(piece)
        begun = max(place for place in ends if place <= heard)
        assert native.open_since == twin.open_since == (-1 if begun == heard else begun_in[begun])


@pytest.mark.parametrize("frames", [rpc.Frames, plain.Frames], ids=["native", "plain"])
def test_a_block_is_open_until_its_end(frames: type[rpc.Frames]) -> None:
    found = frames()
    found.take(PREFACE)
    for epoch, part in enumerate(BLOCK, 3):
        found.epoch = epoch
        assert found.open_since == (-1 if epoch == 3 else 3)
        found.take(part)
    assert found.open_since == -1
