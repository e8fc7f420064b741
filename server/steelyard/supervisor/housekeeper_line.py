"""The housekeeper's end of the line to the supervisor: its thread asks for events, and waits until they are there."""

import asyncio
import concurrent.futures
from collections.abc import Sequence

from steelyard.errors import EvidenceError
from steelyard.supervisor.channel import Channel


class Line:
    """Made on the event loop; `expire` is called on another thread, `listen` is awaited on the loop."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._asked: concurrent.futures.Future[None] | None = None
        self._closed = False

    def expire(self, model: str, files: Sequence[str]) -> None:
        """Returns when an event says that sealed files of `model` are no longer kept.

        Raises EvidenceError where it cannot be recorded, also as the supervisor is stopping or gone.
        """
        asked: concurrent.futures.Future[None] = concurrent.futures.Future()

        def ask() -> None:
            self._asked = asked
            if self._closed:
                self.close()
            self._channel.send({"expiring": list(files), "model": model})

        self._loop.call_soon_threadsafe(ask)
        asked.result()

    async def listen(self) -> None:
        """Hears the supervisor; returns when it says stop or is gone."""
        async for message in self._channel:
            if message.get("stop"):
                break
            if self._asked is not None and "recorded" in message:
                asked, self._asked = self._asked, None
                if message["recorded"]:
                    asked.set_result(None)
                else:
                    asked.set_exception(EvidenceError(message["why"]))

    def close(self) -> None:
        """Nobody answers any more: whoever waits, or comes to, hears that."""
        self._closed = True
        if self._asked is not None:
            self._asked.set_exception(EvidenceError("the server is stopping"))
            self._asked = None
