"""Load on a server by this project's own client: so many requests in flight, or so many a second at random."""

import asyncio
import gc
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle

import numpy as np

from steelyard.client.aio_channel import AsyncChannel
from steelyard.client.backoff import Backoff
from steelyard.client.failures import CallFailed
from steelyard.client.rpcs import INFER
from steelyard.client.target import parse_target
from steelyard.client.wiring import Wiring
from steelyard.rpc.limits import Limits
from steelyard.tune.sample import Sample, sample_of

# A stretch goes on until there are as many answers, of which three make a hundred for a p99, or for so many times as
# long as it was to take.
LEAST_ANSWERS = 34
LONGEST = 2.0

# Requests without an answer at one time; whoever is due beyond is counted as failed. A server that keeps up has few.
MAX_OPEN = 1024

# What is open at the end of a stretch has so long, and then counts as failed.
GRACE_S = 5.0


class Load:
    """Asks one server. Times include this process's own share, and arrivals are on a grid of about a millisecond."""

    def __init__(self, address: str, max_message_bytes: int) -> None:
        """Connects with the first request, on the loop that runs then."""
        limits = Limits(max_message_bytes=max_message_bytes)
        backoff = Backoff(random.random)
        self._channel = AsyncChannel(parse_target(address), Wiring(limits), None, backoff)

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def ask(self, body: bytes, timeout_s: float) -> None:
        """One inference. Raises CallFailed."""
        await self._channel.unary(INFER, body, timeout_s).answer()

    async def closed(self, bodies: Sequence[bytes], in_flight: int, seconds: float) -> Sample:
        """`in_flight` callers, each of which asks again as soon as it has its answer."""
        following = cycle(bodies)
        latencies_ms: list[float] = []
        failed = 0
        began_s = last_s = 0.0

        async def caller() -> None:
            nonlocal failed, last_s
            while True:
                sent_s = time.monotonic()
                taken_s = sent_s - began_s
                enough = len(latencies_ms) + failed >= LEAST_ANSWERS
                if taken_s >= seconds and (enough or taken_s >= LONGEST * seconds):
                    return
                try:
                    await self.ask(next(following), GRACE_S)
                except CallFailed:
                    failed += 1
                else:
                    last_s = time.monotonic()
                    latencies_ms.append((last_s - sent_s) * 1e3)

        with _undisturbed():
            began_s = last_s = time.monotonic()
            await asyncio.gather(*(caller() for _ in range(in_flight)))
        return sample_of(latencies_ms, last_s - began_s, failed)

    async def opened(self, bodies: Sequence[bytes], rate_per_s: float, seconds: float, seed: int) -> Sample:
        """Requests at random moments (Poisson), sent when they are due whatever became of those before; times count
        from when each was due."""
        following = cycle(bodies)
        gaps_s = gaps(rate_per_s, seconds, seed)
        latencies_ms: list[float] = []
        failed = 0
        open_calls: set[asyncio.Task[None]] = set()
        last_s = 0.0

        async def call(due_s: float, body: bytes) -> None:
            nonlocal failed, last_s
            try:
                await self.ask(body, GRACE_S)
            except CallFailed:
                failed += 1
            else:
                last_s = time.monotonic()
                latencies_ms.append((last_s - due_s) * 1e3)

        with _undisturbed():
            due_s = began_s = time.monotonic()
            for gap_s in gaps_s:
                due_s += gap_s
                ahead_s = due_s - time.monotonic()
                if ahead_s > 0:
                    await asyncio.sleep(ahead_s)
                if len(open_calls) >= MAX_OPEN:
                    failed += 1
                    continue
                task = asyncio.create_task(call(due_s, next(following)))
                open_calls.add(task)
                task.add_done_callback(open_calls.discard)
            if open_calls:
                await asyncio.wait(open_calls)
        return sample_of(latencies_ms, max(last_s, due_s) - began_s, failed, due_s - began_s)


def gaps(rate_per_s: float, seconds: float, seed: int) -> list[float]:
    """Seconds between requests that come at random, for about so long; what they come to in all differs with chance."""
    seconds = min(max(seconds, LEAST_ANSWERS / rate_per_s), LONGEST * seconds)
    count = max(1, round(rate_per_s * seconds))
    drawn: list[float] = np.random.default_rng(seed).exponential(1 / rate_per_s, count).tolist()
    return drawn


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without collections, which would look like a slow server. One is made first: begin to count inside."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
