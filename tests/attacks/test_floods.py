"""Frames without end."""

from collections.abc import Callable

import pytest

from tests.attacks.attacker import Attacker, head
from tests.attacks.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    INTERNAL_ERROR,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    block,
    frame,
    update,
)
from tests.attacks.siege import Siege

ROUNDS = 200
FRAMES_A_ROUND = 2_000

FLOODS: dict[str, Callable[[int], bytes]] = {
    "SETTINGS": lambda stream_id: frame(SETTINGS, b"\0\4\0\0\xff\xff"),
    "PING": lambda stream_id: frame(PING, b"flooding"),
    "WINDOW_UPDATE": lambda stream_id: update(stream_id, 1),
    "empty DATA": lambda stream_id: frame(DATA, stream_id=stream_id),
    "one byte of DATA": lambda stream_id: frame(DATA, b"\0", stream_id=stream_id),
    "PRIORITY": lambda stream_id: frame(PRIORITY, bytes(5), stream_id=stream_id + 2),
    "unknown": lambda stream_id: frame(0xEE, b"what", stream_id=stream_id),
}

BORNE = {"WINDOW_UPDATE", "one byte of DATA"}


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood(siege: Siege, kind: str, reads: bool) -> None:
    with siege.hold(growth_mb=30), Attacker(siege.address) as attacker:
        stream_id = attacker.next_id()
        attacker.send(frame(HEADERS, block(head()), flags=END_HEADERS, stream_id=stream_id))
        once = FLOODS[kind](stream_id) * FRAMES_A_ROUND
        if reads:
            for _ in range(ROUNDS):
                if not attacker.send_and_read(once):
                    break
        else:
            attacker.send_as_much_as_is_taken(once * ROUNDS)
        # What costs the server nothing to hear, or ends its call, is borne; the rest ends the connection.
        assert attacker.settle() == (kind in BORNE)
        assert attacker.trailers == (kind == "one byte of DATA")


@pytest.mark.parametrize("payload", [b"", b"\0"], ids=["empty", "a byte"])
def test_a_flood_of_continuations(siege: Siege, payload: bytes) -> None:
    with siege.hold(growth_mb=30), Attacker(siege.address) as attacker:
        attacker.send(frame(HEADERS, block(head()), stream_id=attacker.next_id()))
        attacker.send_and_read(frame(CONTINUATION, payload, stream_id=1) * 100_000)
        attacker.read_to_end()


@pytest.mark.parametrize(
    "too_large",
    [frame(0xFF, bytes(16_385)), frame(DATA, bytes(16_385), stream_id=1), frame(SETTINGS, bytes(6) * 33)],
    ids=["unknown frame", "data", "settings"],
)
def test_a_frame_that_is_larger_than_may_be(siege: Siege, too_large: bytes) -> None:
    with siege.hold(growth_mb=20), Attacker(siege.address) as attacker:
        attacker.send(attacker.call())
        assert attacker.settle()
        attacker.send(too_large)
        attacker.read_to_end()
        assert attacker.goaway is not None


def test_rapid_reset_in_a_burst(siege: Siege) -> None:
    with siege.hold(growth_mb=30), Attacker(siege.address) as attacker:
        for _ in range(100):
            burst = b"".join(
                attacker.call() + frame(RST_STREAM, (8).to_bytes(4), stream_id=2 * (number + 500 * _) + 1)
                for number in range(500)
            )
            if not attacker.send_and_read(burst):
                break
        attacker.read_to_end()
        assert attacker.goaway == INTERNAL_ERROR  # as the library calls it


def test_rapid_reset_below_the_limit(siege: Siege) -> None:
    with siege.hold(growth_mb=30), Attacker(siege.address) as attacker:
        for paced in range(18):
            burst = b"".join(
                attacker.call(data=b"\0\0\0\1\0" + bytes(40))
                + frame(RST_STREAM, (8).to_bytes(4), stream_id=2 * (number + 500 * paced) + 1)
                for number in range(500)
            )
            attacker.send_and_read(burst)
            assert attacker.settle()


def test_more_streams_than_may_be_from_a_peer_that_reads_nothing(siege: Siege) -> None:
    with siege.hold(growth_mb=30), Attacker(siege.address) as attacker:
        # Each is refused with a reset, for which the server has nowhere to go.
        fields = block(head())
        for _ in range(40):
            begun = [
                frame(HEADERS, fields, flags=END_HEADERS, stream_id=attacker.next_id()) for _ in range(10_000)
            ]
            if not attacker.send_as_much_as_is_taken(b"".join(begun)):
                break
        attacker.settle()


def test_refusals_for_a_peer_that_reads_nothing(siege: Siege) -> None:
    with siege.hold(growth_mb=30), Attacker(siege.address) as attacker:
        for _ in range(20):
            calls = [attacker.call(head(b"/no/Such"), end=True) for _ in range(5_000)]
            if not attacker.send_as_much_as_is_taken(b"".join(calls)):
                break
        attacker.settle()
