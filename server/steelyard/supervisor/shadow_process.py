"""A shadow's place: the process that runs its candidate, started again whenever it dies, and what it has counted."""

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

from steelyard.errors import LoadFailed
from steelyard.observe.logs import log
from steelyard.shadow.running import RunningUnit
from steelyard.shadow.task import ShadowTask
from steelyard.supervisor.backoff import Backoff
from steelyard.supervisor.channel import EXIT_REFUSED, EXIT_SHADOW_HUNG, EXIT_SHADOW_LEAKED, Channel
from steelyard.supervisor.starting import start_module

# A candidate that hung is started again after so many times its timeout: it hangs for a tenth of the time at most.
HUNG_PAUSE = 9


class ShadowState(Enum):
    """Where a shadow's process stands."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    """It ended, and is started again after a pause."""
    FAILED = "failed"
    """The candidate cannot be run; `reason` says why. It is not tried again."""
    STOPPED = "stopped"


class ShadowProcess:
    """Keeps one candidate's process running until `stop`; `checkpoint` outlives the processes.

    `exits` counts how they ended: crashed, hung, leaked. Once a candidate has run, a later process that cannot load it
    has met something that may pass, and counts as crashed.
    """

    def __init__(self, task: ShadowTask, changed: Callable[[], None] = lambda: None) -> None:
        self.task = task
        self.state = ShadowState.STARTING
        self.reason = ""
        self.digest = ""
        """The candidate's, as soon as it is known; what it answers by is in the checkpoint's `digests`."""
        self.checkpoint: dict[str, Any] = dict(task.checkpoint)
        self.exits: Counter[str] = Counter()
        self.pid = 0
        self.changed = changed
        """Called on the event loop whenever state or checkpoint are others."""
        self._process: asyncio.subprocess.Process | None = None
        self._running_fd = os.memfd_create("shadow", os.MFD_CLOEXEC)
        os.ftruncate(self._running_fd, 16)
        self._running = RunningUnit(self._running_fd)
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._ran_once = False

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return self.exits.total()

    @property
    def running(self) -> int:
        """Requests that the candidate is running at this moment."""
        return sum(self._running.read())

    async def started(self) -> str:
        """Waits until the candidate runs for the first time; gives its digest, empty where only a call will tell.

        Raises `LoadFailed` that says why it cannot be run, or was stopped before.
        """
        await self._settled.wait()
        if not self._ran_once:
            raise LoadFailed(self.reason or "the shadow was stopped before its candidate ran")
        return self.digest

    async def run(self) -> None:
        """Starts the process, and starts it again after each death; returns when it was stopped or has failed."""
        backoff = Backoff()
        while not self._stopping.is_set():
            began_s = time.monotonic()
            status = await self._live()
            self.pid = 0
            if self._stopping.is_set():
                break
            if status == EXIT_REFUSED and not self._ran_once:
                self._move(ShadowState.FAILED)
                return
            kind = {EXIT_SHADOW_HUNG: "hung", EXIT_SHADOW_LEAKED: "leaked"}.get(status, "crashed")
            self.exits[kind] += 1
            if kind == "crashed":
                self._blame()
            pause_s = backoff.after_life_of(time.monotonic() - began_s)
            if kind == "hung":
                # While it hangs it keeps a processor busy, which the primary's own shares its core with, maybe.
                pause_s = max(pause_s, HUNG_PAUSE * self.task.manifest.rollout.shadow.timeout_s)
            log(
                "shadow.ended",
                level=logging.ERROR,
                shadow=self.task.rollout,
                model=self.task.model,
                how=kind,
                status=status,
                reason=self.reason,
                restarts=self.restarts,
                pause_s=pause_s,
            )
            self._move(ShadowState.RESTARTING)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
        self._move(ShadowState.STOPPED)

    def stop(self) -> None:
        """Ends the process at once; what it was doing is lost. `run` returns soon after."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _live(self) -> int:
        """One life of the process; returns its exit status."""
        process, ours = await start_module("steelyard.supervisor.shadow_main", self._running_fd)
        self._process = process
        self.pid = process.pid
        # From its first imports on; it does the same for itself where this comes too late.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        if self._stopping.is_set():
            process.kill()
        self.reason = ""
        channel = await Channel.open(ours)
        task = self.task.model_copy(update={"checkpoint": self.checkpoint})
        channel.send({"task": task.model_dump_json()})
        async for message in channel:
            if "refused" in message:
                self.reason = message["refused"]
            if "checkpoint" in message:
                self.checkpoint = message["checkpoint"]
                self.changed()
            if "started" in message:
                self.digest = message["started"]["digest"]
                self._ran_once = True
                self._move(ShadowState.RUNNING)
        await channel.close()
        return await process.wait()

    def close(self) -> None:
        """Gives back what it holds; call after `run` has returned."""
        os.close(self._running_fd)
        with contextlib.suppress(OSError):
            self.task.socket.unlink()

    def _blame(self) -> None:
        """Leaves it to the next life to count what the process was running when it died."""
        answered, failed = self._running.read()
        self._running.done()
        if answered or failed:
            before = self.checkpoint.get("crashed", {})
            self.checkpoint["crashed"] = {
                "answered": before.get("answered", 0) + answered,
                "failed": before.get("failed", 0) + failed,
            }

    def _move(self, state: ShadowState) -> None:
        self.state = state
        if state in (ShadowState.RUNNING, ShadowState.FAILED, ShadowState.STOPPED):
            self._settled.set()
        self.changed()
