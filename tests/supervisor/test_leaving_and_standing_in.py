"""The end of one worker among others: the time that it is given, and who accepts from its listeners meanwhile."""

import asyncio
import os
import socket

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.config import Settings
from steelyard.fronts.http2.front import HAND_OVER_NOTICE_S
from steelyard.fronts.http2.patience import Patience
from steelyard.supervisor.front import stand_in
from steelyard.supervisor.listeners import Handed
from steelyard.supervisor.process import leaves_within_s
from tests.attacks.attacker import Attacker
from tests.attacks.slow import slow_front


@given(handshake_s=st.integers(1, 86_400), drain_s=st.floats(0, 86_400))
def test_a_worker_that_leaves_is_not_killed_for_what_the_settings_let_it_wait_for(
    handshake_s: int, drain_s: float
) -> None:
    settings = Settings(handshake_timeout_s=handshake_s, drain_timeout_s=drain_s)
    assert leaves_within_s(settings) > handshake_s + HAND_OVER_NOTICE_S + drain_s
    assert 0 < leaves_within_s(Settings(handshake_timeout_s=0, drain_timeout_s=drain_s)) - drain_s < 60


@pytest.mark.parametrize("second", ["no descriptor", "no listener"])
async def test_who_cannot_stand_in_at_all_listeners_of_another_does_at_none(second: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        unusable = -1 if second == "no descriptor" else ours.fileno()
        one, other = (Handed(address, False, fd) for fd in (listener.fileno(), unusable))
        async with slow_front(Patience()) as slow:
            before = psutil.Process().num_fds()
            with pytest.raises(OSError, match=os.strerror(9 if unusable < 0 else 22)):
                await stand_in(slow.front, None, {1: [one, other]})
            await asyncio.sleep(0)
            assert slow.front.accepting.others == set()
            assert psutil.Process().num_fds() == before
            # So that it can be tried again.
            await stand_in(slow.front, None, {1: [one]})
            assert slow.front.accepting.others == {1}
            with await asyncio.to_thread(Attacker, address) as attacker:
                assert await asyncio.to_thread(attacker.settle)
