"""The line between the supervisor and a worker: JSON objects, one a line, over a socket pair."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

# A line carries at most the names of all models: 100,000 names of 255 bytes would be 25 MB, and nobody has those.
MAX_LINE_BYTES = 32 << 20

# What a worker exits with that could not begin to serve, after it has said on the line why.
EXIT_REFUSED = 2

# What a shadow's process exits with whose candidate took too long over a batch, or has grown beyond its bound.
EXIT_SHADOW_HUNG = 3
EXIT_SHADOW_LEAKED = 4


class Channel:
    """One end of the line. The end of the other process is the end of the iteration."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> "Channel":
        """Takes over one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=MAX_LINE_BYTES))

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends one message; lost without a word where the other process has ended."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """The next message, or None where the other process has ended."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while (message := await self.receive()) is not None:
            yield message

    async def close(self) -> None:
        """Closes this end, after what was sent has left it."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
