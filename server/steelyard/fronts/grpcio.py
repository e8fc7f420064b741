"""The gRPC front on `grpc.aio`: the reference, with raw bytes in and out."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio

from steelyard._native.path import EngineCall
from steelyard.errors import ConfigError, SteelyardError
from steelyard.fronts.tls import Papers, ServedTls
from steelyard.fronts.waiting import WaitingAnswers
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.serving.call import DECISION_ID, Metadata
from steelyard.serving.methods import BidiStream, Methods, ServerStream, Unary
from steelyard.wire.status import message_of, status_of, trailing_of

if TYPE_CHECKING:
    from steelyard.serving.engine import Engine

Listener = tuple[str, ServedTls | None]
"""An address, and what it is served with where that is TLS."""

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

# Handshakes and pings as gRPC's own defaults have them; a client that pings more often than every ten seconds without
# a call is told to calm down by the library.
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


def _configuration(papers: Papers) -> Any:
    return grpc.ssl_server_certificate_configuration([(papers.key, papers.certificate)], papers.client_ca)


def _credentials(tls: ServedTls) -> grpc.ServerCredentials:
    taken = tls.papers

    def changed() -> Any:
        # Asked at each handshake, on a thread of the library's.
        nonlocal taken
        if tls.papers is taken:
            return None
        taken = tls.papers
        return _configuration(taken)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(taken), changed, require_client_authentication=taken.client_ca is not None
    )


def _deadline_ns(context: Any) -> int:
    remaining_s = context.time_remaining()
    return 0 if remaining_s is None else time.monotonic_ns() + int(remaining_s * 1e9)


class GrpcioContext:
    """A call of any method but ModelInfer."""

    __slots__ = ("_waiting", "aside", "deadline_ns", "peer", "peer_uid")

    def __init__(self, context: Any, waiting: WaitingAnswers) -> None:
        self.peer: str = context.peer()
        self.peer_uid: int | None = None
        self.deadline_ns = _deadline_ns(context)
        self._waiting = waiting
        self.aside = 0

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more of answers may be kept for the caller."""
        return self._waiting.has_room(self.peer, size)

    def no_room(self, size: int) -> str:
        """What is said of an answer of so many bytes for which there is no room."""
        return self._waiting.no_room(self.peer, size)

    def set_aside(self, count: int) -> None:
        """So many bytes of answers are kept, or no longer where `count` is under zero."""
        self.aside += count
        self._waiting.add(self.peer, count)

    def keep(self, count: int) -> None:
        """Bytes of requests are the library's to bound: it counts none, and neither does this front."""


class InferCall(EngineCall):
    """A ModelInfer call; its future ends with the answer, or with None where `error` says why there is none."""

    __slots__ = ("_metadata", "error", "future", "peer", "trailing")

    def __init__(self, context: Any, future: "asyncio.Future[bytes | None]") -> None:
        # A call is recorded after it has ended as well, and its context must not be asked any longer then.
        self.peer: str = context.peer()
        self._metadata: Sequence[tuple[str, str | bytes]] = tuple(context.invocation_metadata() or ())
        self.future = future
        self.deadline_ns = _deadline_ns(context)
        self.error: SteelyardError | None = None
        self.trailing: Metadata = ()

    @property
    def traceparent(self) -> bytes:
        for name, value in self._metadata:
            if name == "traceparent":
                return str(value).encode()
        return b""

    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        return self._metadata

    def answer(self, body: bytes, decision_id: str, trailing: Metadata) -> None:
        self.trailing = ((DECISION_ID, decision_id), *trailing)
        if not self.future.done():
            self.future.set_result(body)

    def fail(self, error: SteelyardError, decision_id: str, trailing: Metadata) -> None:
        self.error = error
        self.trailing = ((DECISION_ID, decision_id), *trailing)
        if not self.future.done():
            self.future.set_result(None)


async def _abort(context: Any, error: SteelyardError, trailing: Metadata) -> NoReturn:
    await context.abort(_CODES[status_of(error)], message_of(error), (*trailing, *trailing_of(error)))
    raise AssertionError("abort does not return")


def _infer(engine: "Engine") -> Any:
    async def infer(body: bytes, context: Any) -> bytes:
        call = InferCall(context, asyncio.get_running_loop().create_future())
        engine.submit(call, body)
        try:
            answer = await call.future
        except asyncio.CancelledError:
            engine.cancel(call)
            raise
        if answer is None:
            assert call.error is not None
            await _abort(context, call.error, call.trailing)
        context.set_trailing_metadata(call.trailing)
        return answer

    return grpc.unary_unary_rpc_method_handler(infer)


def _unary(handler: Unary, waiting: WaitingAnswers) -> Any:
    async def unary(body: bytes, context: Any) -> bytes:
        try:
            return await handler(body, GrpcioContext(context, waiting))
        except SteelyardError as error:
            await _abort(context, error, ())

    return grpc.unary_unary_rpc_method_handler(unary)


def _server_stream(handler: ServerStream, waiting: WaitingAnswers) -> Any:
    async def stream(body: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            async for answer in handler(body, GrpcioContext(context, waiting)):
                yield answer
        except SteelyardError as error:
            await _abort(context, error, ())

    return grpc.unary_stream_rpc_method_handler(stream)


def _bidi_stream(handler: BidiStream, waiting: WaitingAnswers) -> Any:
    async def stream(bodies: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        call = GrpcioContext(context, waiting)
        try:
            async for answer in handler(bodies, call):
                # The library asks for the next when the caller's windows have taken this one.
                call.set_aside(len(answer) - min(call.aside, len(answer)))
                try:
                    yield answer
                finally:
                    call.set_aside(-len(answer))
        except SteelyardError as error:
            await _abort(context, error, ())

    return grpc.stream_stream_rpc_method_handler(stream)


class _Table(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The methods by name; what is not here is UNIMPLEMENTED."""

    def __init__(self, methods: Methods, engine: "Engine | None", waiting: WaitingAnswers) -> None:
        self._handlers: dict[str, Any] = {}
        if engine is not None:
            self._handlers[methods.infer] = _infer(engine)
        self._handlers.update({name: _unary(handler, waiting) for name, handler in methods.unary.items()})
        self._handlers.update(
            {name: _server_stream(handler, waiting) for name, handler in methods.server_stream.items()}
        )
        self._handlers.update(
            {name: _bidi_stream(handler, waiting) for name, handler in methods.bidi_stream.items()}
        )

    def service(self, handler_call_details: Any) -> Any:
        return self._handlers.get(handler_call_details.method)


class GrpcioFront:
    """A `grpc.aio` server over the table of methods; without an engine there is no inference among them."""

    def __init__(
        self,
        methods: Methods,
        engine: "Engine | None",
        max_message_bytes: int,
        compress: bool = False,
        waiting: WaitingAnswers | None = None,
    ) -> None:
        """
        compress: whether answers are, with gzip, for clients that understand it.
        waiting: bounds what streams keep for their callers; by default as much as the http2 front's.
        """
        limits, totals = Limits(), TotalLimits()
        waiting = waiting or WaitingAnswers(limits.send_bytes, totals.send_bytes)
        options = (
            *_OPTIONS,
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
        )
        compression = grpc.Compression.Gzip if compress else grpc.Compression.NoCompression
        self._server = grpc.aio.server(options=options, compression=compression)
        self._server.add_generic_rpc_handlers((_Table(methods, engine, waiting),))

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Listens on the addresses. Raises `ConfigError` where it cannot."""
        for address, tls in listeners:
            try:
                if tls is None:
                    self._server.add_insecure_port(address)
                else:
                    self._server.add_secure_port(address, _credentials(tls))
            except RuntimeError as error:
                setting = "grpc_address" if tls is None else "grpc_tls_address"
                raise ConfigError(f"{setting} {address}: cannot listen there: {error}") from None
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Takes no new calls, and gives those that are open `grace_s` seconds."""
        await self._server.stop(grace_s)
