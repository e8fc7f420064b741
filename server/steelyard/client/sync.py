"""The client that waits: every method returns when the answer is there."""

import contextlib
import random
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from steelyard.client import rpcs
from steelyard.client.answers import ModelMetadata, ModelState, ModelStatistics
from steelyard.client.backoff import Backoff
from steelyard.client.blocking_channel import BlockingChannel
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


class Client:
    """A connection to one server; may be used from several threads at once, and is a context manager.

    Every method raises errors of `steelyard.errors`: InvalidRequest, ModelNotFound, Unavailable (also where
    no server answers), Unsupported, Overloaded, DeadlineExpired, ExecutionFailed, TooLarge, LoadFailed. What
    came from a server has the attribute `decision_id`: its own name for the request, None where it had none.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        retry: Retry | None = None,
        sleep: Callable[[float], None] = time.sleep,
        tls: ssl.SSLContext | None = None,
        keepalive_s: float | None = None,
    ) -> None:
        """Connects with the first call. Raises ConfigError for an address that is none.

        address: "host:port", "[address]:port" or "unix:/path".
        timeout_s: of every call that names none of its own, over all attempts; None: no limit.
        max_message_bytes: of a request and of an answer.
        retry: how far to follow the server's pushback.
        sleep: waits the seconds between two attempts.
        tls: how to reach a server that speaks TLS (`tls_context` makes one); it is set to ask for h2.
        keepalive_s: without a byte from the server while a call is open, before it is asked whether it is there; None:
            it is never asked.
        """
        self.address = address
        self._timeout_s = timeout_s
        self._retry = retry or Retry()
        self._sleep = sleep
        wiring = Wiring(Limits(max_message_bytes=max_message_bytes), keepalive_s)
        self._channel = BlockingChannel(parse_target(address), wiring, tls, Backoff(random.random))
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; calls that are under way end as Cancelled."""
        self._closed = True
        self._channel.close()

    def infer(
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
        """Runs `model` on `inputs`; the arguments are as in `Request`.

        Strings are arrays of str or bytes, and come back as bytes. BF16 is `Tensor(bits, "BF16")`, or an
        array of ml_dtypes' bfloat16.
        """
        started_ns = time.monotonic_ns()
        request = encode_infer(model, inputs, version, outputs, request_id, priority, parameters, classes)
        body, attempts = self._send(rpcs.INFER, request, timeout_s)
        return decode_response(body, time.monotonic_ns() - started_ns, attempts)

    def stream_infer(
        self, requests: Iterable[Request], *, timeout_s: float | None = None
    ) -> Generator[StreamAnswer, None, None]:
        """Sends requests over one stream and yields their answers as they are done, not as they were sent.

        A request without an id gets its position (from 0) as one. What is wrong with one request is an answer
        with an error; what ends the stream is raised. `requests` is consumed on another thread, ahead of the
        answers; what it raises is raised here, after the answers to what came before.
        """
        codec = StreamCodec()
        problems: list[Exception] = []

        def bodies() -> Iterator[bytes]:
            try:
                for request in requests:
                    yield codec.encode(request)
            except Exception as problem:
                problems.append(problem)

        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        self._check_open()
        try:
            with contextlib.closing(self._channel.stream(rpcs.STREAM_INFER, bodies(), timeout_s)) as answers:
                for body in answers:
                    yield codec.decode(body)
        except CallFailed as failed:
            raise error_of(failed.failure, self.address) from None
        if problems:
            raise problems[0]

    def server_ready(self, *, timeout_s: float | None = None) -> bool:
        """Whether the server takes requests at this moment; False where none answers."""
        return self._is_ready(rpcs.server_ready(), timeout_s)

    def model_ready(self, model: str, version: str | int = "", *, timeout_s: float | None = None) -> bool:
        """Whether the server takes requests for the model at this moment; False where no server answers."""
        return self._is_ready(rpcs.model_ready(model, version), timeout_s)

    def metadata(
        self, model: str, version: str | int = "", *, timeout_s: float | None = None
    ) -> ModelMetadata:
        """What the model takes and gives."""
        return self._call(rpcs.metadata(model, version), timeout_s)

    def config(
        self, model: str, version: str | int = "", *, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """The model's configuration, as the protocol's ModelConfig in its JSON form."""
        return self._call(rpcs.config(model, version), timeout_s)

    def statistics(
        self, model: str = "", version: str | int = "", *, timeout_s: float | None = None
    ) -> tuple[ModelStatistics, ...]:
        """Counts and times by version; of every model where none is named."""
        return self._call(rpcs.statistics(model, version), timeout_s)

    def index(self, *, ready: bool = False, timeout_s: float | None = None) -> tuple[ModelState, ...]:
        """What the server's repository holds, with what is wrong with it; `ready`: only what is served."""
        return self._call(rpcs.index(ready), timeout_s)

    def load(self, model: str, *, timeout_s: float | None = None) -> None:
        """Loads the model, or loads it again; returns when it is ready."""
        self._call(rpcs.load(model), timeout_s)

    def unload(self, model: str, *, timeout_s: float | None = None) -> None:
        """Stops serving the model, until it is loaded by request."""
        self._call(rpcs.unload(model), timeout_s)

    def _is_ready(self, rpc: Rpc[bool], timeout_s: float | None) -> bool:
        try:
            return self._call(rpc, timeout_s)
        except Unavailable:
            return False

    def _call(self, rpc: Rpc[T], timeout_s: float | None) -> T:
        return rpc.decode(self._send(rpc.method, rpc.body, timeout_s)[0])

    def _send(self, method: str, body: bytes, timeout_s: float | None) -> tuple[bytes, int]:
        """The answer's bytes, and how many attempts it took."""
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        attempts = Attempts(self._retry, deadline_s, random.random)
        self._check_open()
        while True:
            remaining_s, metadata = attempts.begin(time.monotonic())
            try:
                return self._channel.unary(method, body, remaining_s, metadata), attempts.made
            except CallFailed as failed:
                failure = failed.failure
            wait_s = attempts.wait_s(failure, time.monotonic())
            if wait_s is None:
                raise error_of(failure, self.address)
            self._sleep(wait_s)

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable(f"the client of {self.address} is closed")
