"""Both channels behind one face that waits, so that one test holds for either."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from ssl import SSLContext
from typing import Any, Protocol

from steelyard.client.aio_channel import AsyncChannel
from steelyard.client.backoff import Backoff
from steelyard.client.blocking_channel import BlockingChannel
from steelyard.client.failures import CallFailed, Failure
from steelyard.client.target import parse_target
from steelyard.client.wiring import Wiring
from steelyard.rpc.limits import Limits

Metadata = Sequence[tuple[str, str | bytes]]

# Well above what any call here takes, so that a lost answer fails a test and does not hang it.
TIMEOUT_S = 30.0


class Asker(Protocol):
    """A channel."""

    def unary(
        self, path: str, body: bytes, timeout_s: float | None = TIMEOUT_S, metadata: Metadata = ()
    ) -> bytes: ...

    def stream(
        self, path: str, bodies: Iterable[bytes], timeout_s: float | None = TIMEOUT_S
    ) -> Iterator[bytes]: ...


class Blocking:
    def __init__(self, channel: BlockingChannel) -> None:
        self._channel = channel

    def unary(
        self, path: str, body: bytes, timeout_s: float | None = TIMEOUT_S, metadata: Metadata = ()
    ) -> bytes:
        return self._channel.unary(path, body, timeout_s, metadata)

    def stream(
        self, path: str, bodies: Iterable[bytes], timeout_s: float | None = TIMEOUT_S
    ) -> Iterator[bytes]:
        with closing(self._channel.stream(path, iter(bodies), timeout_s)) as answers:
            yield from answers


class Looping:
    def __init__(self, runner: asyncio.Runner, channel: AsyncChannel) -> None:
        self._runner = runner
        self._channel = channel

    def unary(
        self, path: str, body: bytes, timeout_s: float | None = TIMEOUT_S, metadata: Metadata = ()
    ) -> bytes:
        async def ask() -> bytes:
            return await self._channel.unary(path, body, timeout_s, metadata).answer()

        return self._runner.run(ask())

    def stream(
        self, path: str, bodies: Iterable[bytes], timeout_s: float | None = TIMEOUT_S
    ) -> Iterator[bytes]:
        async def begin() -> tuple[Any, asyncio.Task[None]]:
            call = self._channel.stream(path, timeout_s)

            async def feed() -> None:
                for body in bodies:
                    if not await call.send(body):
                        return
                await call.end()

            return call, asyncio.ensure_future(feed())

        async def following() -> bytes | None:
            return await anext(call, None)

        async def leave() -> None:
            call.cancel()
            feeding.cancel()
            await asyncio.wait([feeding])

        call, feeding = self._runner.run(begin())
        try:
            while (answer := self._runner.run(following())) is not None:
                yield answer
        finally:
            self._runner.run(leave())


@contextmanager
def asker(
    kind: str, address: str, tls: SSLContext | None = None, max_message_bytes: int = 64 << 20, **wiring: Any
) -> Iterator[Asker]:
    """A channel, "blocking" or "asyncio"."""
    target, wired = parse_target(address), Wiring(Limits(max_message_bytes=max_message_bytes), **wiring)
    backoff = Backoff(lambda: 0.5)
    if kind == "blocking":
        with closing(BlockingChannel(target, wired, tls, backoff)) as channel:
            yield Blocking(channel)
        return
    with asyncio.Runner() as runner:

        async def make() -> AsyncChannel:
            return AsyncChannel(target, wired, tls, backoff)

        looping = runner.run(make())
        try:
            yield Looping(runner, looping)
        finally:
            runner.run(looping.close())


def failure(asker: Asker, path: str, body: bytes = b"", timeout_s: float | None = TIMEOUT_S) -> Failure:
    """How a call failed that has to."""
    try:
        answer = asker.unary(path, body, timeout_s)
    except CallFailed as failed:
        return failed.failure
    raise AssertionError(f"answered: {answer[:100]!r}")
