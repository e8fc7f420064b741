"""The housekeeper's place: its process, started again whenever it dies; absent where its extra is not installed."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from steelyard.config import Settings
from steelyard.errors import SteelyardError
from steelyard.observe.logs import log
from steelyard.supervisor.backoff import Backoff
from steelyard.supervisor.channel import EXIT_REFUSED, Channel
from steelyard.supervisor.starting import start_module

MODULE = "steelyard.supervisor.housekeeper_main"

# What it needs, from the extra `evidence`. Looked for, not imported: no other process pays for them.
NEEDED = ("pyarrow",)

# It ends between two steps of its work; after that it is killed, which harms nothing.
STOP_WITHIN_S = 5.0


class Housekeeper:
    """Keeps the housekeeper's process running until `stop`."""

    def __init__(
        self,
        settings: Settings,
        segments: Callable[[], Sequence[int]],
        expire: Callable[[str, Sequence[str]], None] = lambda model, files: None,
    ) -> None:
        """segments: descriptors of the workers' shared segments. expire: records that sealed files of a model are no
        longer kept, before they are removed."""
        self._settings = settings
        self._expire = expire
        self._segments = segments
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._at_work = False
        self.restarts = 0

    async def run(self) -> None:
        """Starts the process, and starts it again after each death; returns when it was stopped or cannot be."""
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            log(
                "housekeeper.absent",
                level=logging.WARNING,
                missing=missing,
                reason="the journal is not sealed, and grows: pip install 'steelyard[evidence]'",
            )
            return
        backoff = Backoff()
        while not self._stopping.is_set():
            began_s = time.monotonic()
            status = await self._live()
            if self._stopping.is_set():
                return
            self.restarts += 1
            pause_s = backoff.after_life_of(time.monotonic() - began_s)
            log(
                "housekeeper.died",
                level=logging.ERROR,
                status=status,
                refused=status == EXIT_REFUSED,
                restarts=self.restarts,
                pause_s=pause_s,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def stop(self) -> None:
        """Ends the process; what it was doing is done again or gone on with at the next start."""
        self._stopping.set()
        if self._channel is not None and self._at_work:
            self._channel.send({"stop": True})
        if self._process is not None and self._process.returncode is None:
            if not self._at_work:
                # It imports, or reads what is there; nobody need wait for that at the priority that it has.
                self.kill()
            _hurry(self._process.pid)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_WITHIN_S)
            except TimeoutError:
                self.kill()

    def kill(self) -> None:
        """Ends it at once."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _live(self) -> int:
        segments = list(self._segments())
        self._at_work = False
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            process, ours = await start_module(MODULE, null, segments)
        finally:
            os.close(null)
        self._process = process
        # From its first imports on.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        if self._stopping.is_set():
            process.kill()
        self._channel = channel = await Channel.open(ours)
        channel.send({"settings": self._settings.model_dump_json(), "segments": segments})
        async for message in channel:
            if "at_work" in message:
                self._at_work = True
            elif "refused" in message:
                log("housekeeper.refused", level=logging.ERROR, reason=message["refused"])
            elif "expiring" in message:
                channel.send(self._recorded(message["model"], message["expiring"]))
        await channel.close()
        return await process.wait()

    def _recorded(self, model: str, files: Sequence[str]) -> dict[str, Any]:
        """The answer to what is about to be removed."""
        try:
            self._expire(model, files)
        except SteelyardError as error:
            return {"recorded": False, "why": str(error)}
        return {"recorded": True}


def _hurry(pid: int) -> None:
    """Gives a process that is to end, and its threads, the processor also where others want it. Without privileges
    there is no way back from the idle priority, and it ends when it can."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))
