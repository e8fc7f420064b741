"""The admin service of a server on this machine, by the Unix socket in its data directory."""

import os
import random
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import DecodeError

from steelyard.client.backoff import Backoff
from steelyard.client.blocking_channel import BlockingChannel
from steelyard.client.failures import CallFailed, error_of
from steelyard.client.target import parse_target
from steelyard.client.wiring import DEFAULT_MAX_MESSAGE_BYTES, Wiring
from steelyard.errors import SteelyardError, Unavailable
from steelyard.rpc.limits import Limits
from steelyard.wire.admin import SERVICE, socket_path


class AdminClient:
    """Calls of the admin service, one at a time."""

    def __init__(self, data: Path, timeout_s: float) -> None:
        """data: the server's data directory. Raises `Unavailable` where it is not there."""
        self._data = data
        self._timeout_s = timeout_s
        try:
            self._directory = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(f"data {data}: {error.strerror}") from None
        target = parse_target(f"unix:{socket_path(self._directory)}")
        wiring = Wiring(Limits(max_message_bytes=DEFAULT_MAX_MESSAGE_BYTES))
        self._channel = BlockingChannel(target, wiring, None, Backoff(random.random))

    def call(
        self, method: str, request: Any, answer: Any, timeout_s: float | None = None, service: str = SERVICE
    ) -> Any:
        """Sends the message `request` and gives the `answer` message that comes back. service: of the socket's.

        Raises the server's refusal, `Unavailable` where no server answers.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            body = self._channel.unary(service + method, request.SerializeToString(), timeout_s)
        except CallFailed as failed:
            raise error_of(failed.failure, f"data {self._data}") from None
        try:
            return answer.FromString(body)
        except DecodeError as error:
            raise SteelyardError(f"the answer is no {answer.DESCRIPTOR.name}: {error}") from None

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()
        os.close(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
