"""Waiting for something that another process does, with an end."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Far above what anything here takes, because the machine may be busy with something else.
DEADLINE_S = 30.0


def eventually(probe: Callable[[], T], *, within_s: float = DEADLINE_S, every_s: float = 0.01) -> T:
    """What `probe` gives, once it gives something true and raises nothing.

    After `within_s` the last failure is raised as it was, or AssertionError where the last result was false.
    """
    end = time.monotonic() + within_s
    while True:
        try:
            result = probe()
            if result:
                return result
            failure: Exception | None = None
        except Exception as error:  # whatever the probe meets while the other side is not there yet
            failure = error
        if time.monotonic() > end:
            if failure is not None:
                raise failure
            raise AssertionError(f"{probe} gave {result!r} for {within_s} s")
        time.sleep(every_s)


async def until(probe: Callable[[], T], *, within_s: float = DEADLINE_S, every_s: float = 0.01) -> T:
    """As `eventually`, while the event loop goes on."""
    end = time.monotonic() + within_s
    while not (result := probe()):
        if time.monotonic() > end:
            raise AssertionError(f"{probe} gave {result!r} for {within_s} s")
        await asyncio.sleep(every_s)
    return result
