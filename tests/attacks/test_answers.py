"""Peers that ask for much and take little of it."""

import numpy as np
import pytest

from tests.attacks.attacker import MAX_WINDOW, Attacker, head, message
from tests.attacks.siege import Siege
from tests.support.asking import SERVICE, request
from tests.support.waiting import eventually


def test_streams_whose_answers_of_4_mb_nobody_takes(siege: Siege) -> None:
    slow_streams(siege, streams=24, window=0)


def test_streams_of_a_peer_that_takes_nothing_of_answers_of_4_mb(siege: Siege) -> None:
    slow_streams(siege, streams=24, window=MAX_WINDOW)


def slow_streams(siege: Siege, streams: int, window: int) -> None:
    """Asks fourteen times on each stream, and reads nothing; what waits is what may wait for one connection."""
    asked = message(request("wide", {"x": np.ones((1, 1), np.float32)}).SerializeToString())
    fields = head(f"{SERVICE}ModelStreamInfer".encode())
    before = siege.ended("wide")
    with siege.hold(growth_mb=200), Attacker(siege.address, window=window) as attacker:
        assert attacker.settle()
        attacker.send_as_much_as_is_taken(b"".join(attacker.call(fields, asked * 14) for _ in range(streams)))
        # Each stream has some at once, before it is known how large answers are.
        eventually(lambda: siege.ended("wide") >= before + 4 * streams)
        if not window:
            assert attacker.settle()
            assert attacker.trailers == 0


def test_a_peer_that_takes_nothing_of_answers_of_4_mb(siege: Siege) -> None:
    slow_readers(siege, connections=1, calls=100, window=MAX_WINDOW)


def test_a_peer_that_opens_no_window_for_answers_of_4_mb(siege: Siege) -> None:
    slow_readers(siege, connections=1, calls=100, window=0)


@pytest.mark.siege
def test_peers_that_take_nothing_of_answers_of_4_mb(siege: Siege) -> None:
    slow_readers(siege, connections=10, calls=100, window=MAX_WINDOW)


def slow_readers(siege: Siege, connections: int, calls: int, window: int) -> None:
    """Asks for answers and reads none until the server has none to make any more."""
    asked = message(request("wide", {"x": np.ones((1, 1), np.float32)}).SerializeToString())
    # What may wait for one connection, what the model makes meanwhile, and what the allocator keeps of both.
    before = siege.ended("wide")
    with siege.hold(growth_mb=150 + 70 * connections):
        attackers = [Attacker(siege.address, window=window) for _ in range(connections)]
        for attacker in attackers:
            attacker.send_as_much_as_is_taken(
                b"".join(attacker.call(data=asked, end=True) for _ in range(calls))
            )
        eventually(lambda: siege.ended("wide") == before + connections * calls)
        for attacker in attackers:
            attacker.close()
