"""Shadows in tests: what was handed over to one, and the patience that one needs.

A shadow's process runs only where nobody else wants the processor, and nothing is handed over to it while the server's
own callers wait. Both are lawful, and come with other tests on the same machine.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tests.support.waiting import eventually

T = TypeVar("T")

# Where other tests keep every processor busy, a shadow's process stands nearly still: it has taken 80 s to start.
PATIENCE_S = 240.0

# Asking all the time would itself be what keeps a processor from it.
EVERY_S = 0.1


def patiently(probe: Callable[[], T]) -> T:
    """As `eventually`, for what a shadow's process, or the housekeeper's, has to do first."""
    return eventually(probe, within_s=PATIENCE_S, every_s=EVERY_S)


def hand_over(requests: int, ask: Callable[[int], object], status: Callable[[], Mapping[str, Any]]) -> int:
    """Asks until exactly so many requests more have been handed over to a shadow and acknowledged; gives how many it
    took.

    What the server drops, as it may, is asked again. ask: sends so many requests, of which each is sampled. status: of
    the shadow.
    """
    before = status()["tap"]
    sent = there = 0
    while there < requests:
        ask(requests - there)
        sent += requests - there

        def settled(sent: int = sent) -> Mapping[str, int] | None:
            since = {name: count - before.get(name, 0) for name, count in status()["tap"].items()}
            dropped = sum(count for name, count in since.items() if name.startswith("dropped_"))
            done = since.get("sampled", 0) == sent == since.get("acknowledged", 0) + dropped
            return since if done else None

        found = patiently(settled)
        assert found is not None
        there = found["acknowledged"]
    return sent
