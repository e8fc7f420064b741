"""The client for asyncio: the same methods, awaited."""

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from types import TracebackType
from typing import Any, Self, TypeVar

from steelyard.client import rpcs
from steelyard.client.aio_calls import StreamCall
from steelyard.client.aio_channel import AsyncChannel
from steelyard.client.answers import ModelMetadata, ModelState, ModelStatistics
from steelyard.client.backoff import Backoff
from steelyard.client.failures import CallFailed, error_of
from steelyard.client.requests import Parameter, Request, encode_infer
from steelyard.client.results import Result, StreamAnswer, decode_response
from steelyard.client.retry import Attempts, Retry
from steelyard.client.rpcs import Rpc
from steelyard.client.stream import StreamCodec
from steelyard.client.target import parse_target
from steelyard.client.tensors import Array, Tensor
from steelyard.client.wiring import DEFAULT_MAX_MESSAGE_BYTES, Wiring
from steelyard.errors import Unavailable
from steelyard.rpc.limits import Limits

T = TypeVar("T")


class AsyncClient:
    """A connection to one server from one event loop; an async context manager.

    Raises what `Client` raises. A call whose task is cancelled is cancelled at the server too.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        retry: Retry | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        tls: ssl.SSLContext | None = None,
        keepalive_s: float | None = None,
    ) -> None:
        """Connects with the first call, on the loop that is running then. The arguments are as in `Client`."""
        self.address = address
        self._target = parse_target(address)
        self._timeout_s = timeout_s
        self._wiring = Wiring(Limits(max_message_bytes=max_message_bytes), keepalive_s)
        self._tls = tls
        self._retry = retry or Retry()
        self._sleep = sleep
        self._channel: AsyncChannel | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; calls that are under way end as cancelled."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Array | Tensor],
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        request_id: str = "",
        priority: int = 0,
        timeout_s: float | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        classes: Mapping[str, int] | None = None,
    ) -> Result:
        """Runs `model` on `inputs`; as `Client.infer`."""
        started_ns = time.monotonic_ns()
        request = encode_infer(model, inputs, version, outputs, request_id, priority, parameters, classes)
        body, attempts = await self._send(rpcs.INFER, request, timeout_s)
        return decode_response(body, time.monotonic_ns() - started_ns, attempts)

    async def stream_infer(
        self, requests: Iterable[Request] | AsyncIterable[Request], *, timeout_s: float | None = None
    ) -> AsyncGenerator[StreamAnswer, None]:
        """As `Client.stream_infer`; `requests` may be asynchronous, and is consumed ahead of the answers."""
        codec = StreamCodec()
        problems: list[Exception] = []

        async def bodies() -> AsyncGenerator[bytes, None]:
            try:
                if isinstance(requests, AsyncIterable):
                    async for request in requests:
                        yield codec.encode(request)
                else:
                    for request in requests:
                        yield codec.encode(request)
            except Exception as problem:
                problems.append(problem)

        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        call = self._connected().stream(rpcs.STREAM_INFER, timeout_s)
        feeding = asyncio.ensure_future(_feed(call, bodies()))
        try:
            async for body in call:
                yield codec.decode(body)
        except CallFailed as failed:
            raise error_of(failed.failure, self.address) from None
        finally:
            call.cancel()
            feeding.cancel()
            await asyncio.wait([feeding])
        if problems:
            raise problems[0]

    async def server_ready(self, *, timeout_s: float | None = None) -> bool:
        """Whether the server takes requests at this moment; False where none answers."""
        return await self._is_ready(rpcs.server_ready(), timeout_s)

    async def model_ready(
        self, model: str, version: str | int = "", *, timeout_s: float | None = None
    ) -> bool:
        """Whether the server takes requests for the model at this moment; False where no server answers."""
        return await self._is_ready(rpcs.model_ready(model, version), timeout_s)

    async def metadata(
        self, model: str, version: str | int = "", *, timeout_s: float | None = None
    ) -> ModelMetadata:
        """What the model takes and gives."""
        return await self._call(rpcs.metadata(model, version), timeout_s)

    async def config(
        self, model: str, version: str | int = "", *, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """The model's configuration, as the protocol's ModelConfig in its JSON form."""
        return await self._call(rpcs.config(model, version), timeout_s)

    async def statistics(
        self, model: str = "", version: str | int = "", *, timeout_s: float | None = None
    ) -> tuple[ModelStatistics, ...]:
        """Counts and times by version; of every model where none is named."""
        return await self._call(rpcs.statistics(model, version), timeout_s)

    async def index(self, *, ready: bool = False, timeout_s: float | None = None) -> tuple[ModelState, ...]:
        """What the server's repository holds, with what is wrong with it; `ready`: only what is served."""
        return await self._call(rpcs.index(ready), timeout_s)

    async def load(self, model: str, *, timeout_s: float | None = None) -> None:
        """Loads the model, or loads it again; returns when it is ready."""
        await self._call(rpcs.load(model), timeout_s)

    async def unload(self, model: str, *, timeout_s: float | None = None) -> None:
        """Stops serving the model, until it is loaded by request."""
        await self._call(rpcs.unload(model), timeout_s)

    async def _is_ready(self, rpc: Rpc[bool], timeout_s: float | None) -> bool:
        try:
            return await self._call(rpc, timeout_s)
        except Unavailable:
            return False

    async def _call(self, rpc: Rpc[T], timeout_s: float | None) -> T:
        return rpc.decode((await self._send(rpc.method, rpc.body, timeout_s))[0])

    async def _send(self, method: str, body: bytes, timeout_s: float | None) -> tuple[bytes, int]:
        """The answer's bytes, and how many attempts it took."""
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        attempts = Attempts(self._retry, deadline_s, random.random)
        channel = self._connected()
        while True:
            remaining_s, metadata = attempts.begin(time.monotonic())
            try:
                return await channel.unary(method, body, remaining_s, metadata).answer(), attempts.made
            except CallFailed as failed:
                failure = failed.failure
            wait_s = attempts.wait_s(failure, time.monotonic())
            if wait_s is None:
                raise error_of(failure, self.address)
            await self._sleep(wait_s)

    def _connected(self) -> AsyncChannel:
        if self._closed:
            raise Unavailable(f"the client of {self.address} is closed")
        if self._channel is None:
            self._channel = AsyncChannel(self._target, self._wiring, self._tls, Backoff(random.random))
        return self._channel


async def _feed(call: StreamCall, bodies: AsyncGenerator[bytes, None]) -> None:
    """Sends what there is, ahead of the answers. Why it could not is for whoever reads them to hear."""
    async with contextlib.aclosing(bodies):
        with contextlib.suppress(CallFailed):
            async for body in bodies:
                if not await call.send(body):
                    return
            await call.end()
