"""The admin service of a server on this machine, by the Unix socket in its data directory."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from steelyard.client.channel import DEFAULT_MAX_MESSAGE_BYTES, channel_options
from steelyard.client.failures import error_of, failure_of
from steelyard.errors import Unavailable

SERVICE = "/steelyard.v1.Admin/"
ADMIN_SOCKET = "admin.sock"


def socket_address(directory: int) -> str:
    """The gRPC address of the socket in an open directory: by its descriptor, since the path of a Unix socket has at
    most 107 bytes, and a data directory may be deeper."""
    return f"unix:/proc/self/fd/{directory}/{ADMIN_SOCKET}"


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
        options = [*channel_options(DEFAULT_MAX_MESSAGE_BYTES), ("grpc.default_authority", "localhost")]
        self._channel = grpc.insecure_channel(socket_address(self._directory), options)

    def call(self, method: str, request: Any, answer: Any, timeout_s: float | None = None) -> Any:
        """Sends the message `request` and gives the `answer` message that comes back.

        Raises the server's refusal, `Unavailable` where no server answers.
        """
        call = self._channel.unary_unary(
            SERVICE + method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            return call(request, timeout=self._timeout_s if timeout_s is None else timeout_s)
        except grpc.RpcError as error:
            raise error_of(failure_of(error), f"data {self._data}") from None

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
