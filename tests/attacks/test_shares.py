"""What all connections share, and peers who would have all of it."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from steelyard.fronts.http2.patience import Patience
from steelyard.rpc.limits import Limits, TotalLimits
from tests.attacks.attacker import MAX_WINDOW, Attacker, head, message
from tests.attacks.frames import DATA, frame
from tests.attacks.siege import MB
from tests.attacks.slow import ECHO, MANY, SlowFront, slow_front

# A sixty-fourth of the defaults.
LIMITS = Limits(max_message_bytes=MB, connection_bytes=2 * MB)
TOTALS = TotalLimits(received_bytes=16 * MB)


@contextmanager
def incomplete_uploads(slow: SlowFront, path: bytes, connections: int, size: int) -> Iterator[list[Attacker]]:
    """Connections with two messages each, of which a little is missing."""
    with ExitStack() as stack:
        found = [stack.enter_context(Attacker(slow.address)) for _ in range(connections)]
        for attacker in found:
            assert attacker.settle()
            for _ in range(2):
                begun = attacker.call(head(path))
                attacker.send(begun)
                attacker.upload(int.from_bytes(begun[5:9]), message(bytes(size))[:-200])
            assert attacker.settle()
        yield found


def upload(attacker: Attacker, size: int) -> None:
    begun = attacker.call(head(ECHO))
    attacker.send(begun)
    attacker.upload(int.from_bytes(begun[5:9]), message(bytes(size)), end=True)


async def test_uploads_that_trickle_do_not_end_those_of_others() -> None:
    async with slow_front(Patience(), LIMITS, TOTALS) as slow:

        def attack() -> None:
            for path in (ECHO, MANY):
                with incomplete_uploads(slow, path, connections=8, size=MB) as attackers:
                    assert slow.front.held.received > 15 * MB
                    with Attacker(slow.address, window=MAX_WINDOW) as honest:
                        assert honest.settle()
                        for number in range(1, 6):
                            for attacker in attackers:
                                attacker.send(frame(DATA, b"x", stream_id=1) + frame(DATA, b"x", stream_id=3))
                                attacker.settle()
                            upload(honest, 900_000)
                            honest.wait_for_trailers(number)
                            # The answers came, and no reset with a reason.
                            assert honest.came[DATA] > number * 50
                    # One of theirs had to give way, and what it held was enough.
                    assert sum(attacker.trailers for attacker in attackers) == 1

        await asyncio.to_thread(attack)


async def test_who_holds_most_is_refused_where_all_hold_too_much() -> None:
    async with slow_front(Patience(), LIMITS, TOTALS) as slow:

        def attack() -> None:
            with incomplete_uploads(slow, ECHO, connections=30, size=270_000) as attackers:
                assert slow.front.held.received > 15 * MB
                with Attacker(slow.address) as greedy:
                    assert greedy.settle()
                    upload(greedy, MB)
                    greedy.wait_for_trailers(1)
                    assert greedy.resets.total() == 1
                # It was let go as far as an equal share.
                assert sum(attacker.trailers for attacker in attackers) <= 2
                assert slow.front.held.received <= 16 * MB

        await asyncio.to_thread(attack)


async def test_what_is_kept_for_connections_that_went_is_given_back() -> None:
    async with slow_front(Patience(), LIMITS, TOTALS) as slow:

        def attack() -> None:
            with incomplete_uploads(slow, MANY, connections=8, size=MB), Attacker(slow.address) as honest:
                assert honest.settle()
                upload(honest, 500_000)

        await asyncio.to_thread(attack)
        await slow.count(0)
        assert slow.front.held.received == 0
