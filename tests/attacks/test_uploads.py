"""Messages that are announced, begun, or packed, to cost more than they are."""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from tests.attacks.attacker import Attacker, head, message
from tests.attacks.frames import CONTINUATION, DATA, END_HEADERS, HEADERS, block, frame, remembered
from tests.attacks.siege import MB, Siege
from tests.support.asking import request


def test_forged_lengths(siege: Siege) -> None:
    with siege.hold(growth_mb=40), besiegers(siege, 35) as attackers:
        # A thousand streams of each connection, side by side; 256 of them may be open at once (`max_streams`).
        for _ in range(4):
            for attacker in attackers:
                calls = [attacker.call(data=b"\0\xff\xff\xff\xff") for _ in range(250)]
                attacker.send(b"".join(calls))
            for attacker in attackers:
                assert attacker.settle()
        for attacker in attackers:
            assert (attacker.trailers, attacker.resets.total()) == (1_000, 1_000)


def test_forged_lengths_on_more_streams_than_may_be(siege: Siege) -> None:
    with siege.hold(growth_mb=40), besiegers(siege, 35) as attackers:
        for attacker in attackers:
            attacker.send(b"".join(attacker.call(data=b"\0\xff\xff\xff\xff") for _ in range(1_000)))
        for attacker in attackers:
            attacker.settle()


def test_a_message_of_a_gibibyte_that_is_only_announced(siege: Siege) -> None:
    with siege.hold(growth_mb=50), Attacker(siege.address) as attacker:
        attacker.send(attacker.call(data=b"\0\x40\0\0\0" + bytes(60_000)))
        assert attacker.settle()
        assert attacker.resets.total() == 1


@pytest.mark.parametrize("ended", [False, True], ids=["never completed", "complete and never ended"])
def test_large_messages_that_nobody_finishes(siege: Siege, ended: bool) -> None:
    size = 63 * MB
    # Two fit into what one connection may hold, and the third is refused.
    with siege.hold(growth_mb=400), Attacker(siege.address) as first, Attacker(siege.address) as second:
        for attacker in (first, second):
            for _ in range(3):
                begun = attacker.call()
                stream_id = int.from_bytes(begun[5:9])
                attacker.send(begun)
                attacker.upload(stream_id, message(bytes(size))[: size + 5 - (not ended)])
            assert attacker.settle()
            assert attacker.resets.total() == 1


def test_a_message_in_single_bytes(siege: Siege) -> None:
    with siege.hold(growth_mb=50), Attacker(siege.address) as attacker:
        # The server's windows are wide from here on.
        assert attacker.settle()
        attacker.send(attacker.call(data=b"\0\0\x40\0\0"))
        for _ in range(40):
            attacker.send_and_read(frame(DATA, b"x", stream_id=1) * 10_000)
        assert attacker.settle()


def gibibyte() -> bytes:
    """A gzip stream of a mebibyte that inflates to a gibibyte: one piece of it, over and over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    begin = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return begin + again * 1_023


def test_gzip_bombs(siege: Siege) -> None:
    bomb = message(gibibyte(), compressed=True)
    assert len(bomb) < 1.2 * MB
    fields = head(*HEAD_GZIP)
    # Two threads inflate, each up to 64 MB, and hold it twice while it is put together.
    with siege.hold(growth_mb=400), Attacker(siege.address) as attacker:
        for _ in range(8):
            begun = attacker.call(fields)
            attacker.send(begun)
            attacker.upload(int.from_bytes(begun[5:9]), bomb, end=True)
        attacker.wait_for_trailers(8)


def test_gzip_bombs_of_calls_that_are_cancelled(siege: Siege) -> None:
    bomb = message(gibibyte(), compressed=True)
    fields = head(*HEAD_GZIP)
    with siege.hold(growth_mb=400), Attacker(siege.address) as attacker:
        for _ in range(60):
            begun = attacker.call(fields)
            stream_id = int.from_bytes(begun[5:9])
            attacker.send(begun)
            attacker.upload(stream_id, bomb, end=True)
            attacker.reset(stream_id)
        assert attacker.settle()


HEAD_GZIP = (b"/inference.GRPCInferenceService/ModelInfer", (b"grpc-encoding", b"gzip"))


def test_thousands_of_headers_end_the_connection(siege: Siege) -> None:
    with siege.hold(growth_mb=50), Attacker(siege.address) as attacker:
        attacker.send(header_frames(1, block(head() + [(b"x%d" % n, b"") for n in range(5_000)])))
        attacker.read_to_end()
        assert attacker.goaway is not None


def test_too_many_headers_end_their_call(siege: Siege) -> None:
    with siege.hold(growth_mb=50), Attacker(siege.address) as attacker:
        fields = head(HEAD_GZIP[0], *((b"x%d" % n, bytes(180).replace(b"\0", b"x")) for n in range(200)))
        attacker.send(header_frames(attacker.next_id(), block(fields)))
        assert attacker.settle()
        assert attacker.resets.total() == 1


def test_headers_from_a_table_cost_more_than_their_frames(siege: Siege) -> None:
    large = remembered(b"x", bytes(3_900).replace(b"\0", b"x"))
    begun = block(head())
    with siege.hold(growth_mb=80):
        attackers = [Attacker(siege.address) for _ in range(8)]
        for attacker in attackers:
            attacker.send(header_frames(attacker.next_id(), begun + large))
            # Number 62 of the table: a byte for four thousand.
            calls = [header_frames(attacker.next_id(), begun + b"\xbe" * 7) for _ in range(255)]
            attacker.send_and_read(b"".join(calls))
            assert attacker.settle()
        for attacker in attackers:
            attacker.close()


@contextmanager
def besiegers(siege: Siege, count: int) -> Iterator[list[Attacker]]:
    """Connections that are there side by side, and know what they may do."""
    with ExitStack() as stack:
        found = [stack.enter_context(Attacker(siege.address)) for _ in range(count)]
        assert all(attacker.settle() for attacker in found)
        yield found


def test_calls_while_handlers_stand_still(siege: Siege) -> None:
    stand_still(siege, connections=20, rounds=2)


@pytest.mark.siege
def test_a_hundred_thousand_calls_while_handlers_stand_still(siege: Siege) -> None:
    stand_still(siege, connections=100, rounds=4)


def stand_still(siege: Siege, connections: int, rounds: int) -> None:
    """Calls of 10 KB to a model that works on each for a second, 250 a round on each connection. More than 256 may not
    be open on one (`max_streams`), so each round gives up the calls of the one before."""
    padding = {"padding": "x" * 10_000}
    asked = request("still", {"turns": np.array([500_000], np.int64)}, parameters=padding).SerializeToString()
    with siege.hold(growth_mb=60 + connections * 5), besiegers(siege, connections) as attackers:
        for number in range(rounds):
            for attacker in attackers:
                given_up = [2 * stream + 1 for stream in range(250 * (number - 1), 250 * number) if number]
                for stream_id in given_up:
                    attacker.reset(stream_id)
                calls = [attacker.call(data=message(asked), end=True) for _ in range(250)]
                attacker.send_and_read(b"".join(calls))
            for attacker in attackers:
                assert attacker.settle()


def header_frames(stream_id: int, whole: bytes) -> bytes:
    """A header block in as many frames as it takes, of a request without a message."""
    pieces = [whole[begin : begin + 16_384] for begin in range(0, len(whole), 16_384)]
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    found = []
    for number, (kind, piece) in enumerate(zip(kinds, pieces, strict=True), 1):
        flags = END_HEADERS if number == len(pieces) else 0
        found.append(frame(kind, piece, flags=flags, stream_id=stream_id))
    return b"".join(found)
