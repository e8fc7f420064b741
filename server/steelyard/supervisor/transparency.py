"""Puts governance events into the transparency log, beside what the supervisor does; segments are the housekeeper's."""

import asyncio
import importlib.util
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from steelyard.clock import Clock
from steelyard.config import Settings
from steelyard.errors import EvidenceError
from steelyard.evidence.entry import EventEntry, entry_of
from steelyard.evidence.event import Event
from steelyard.evidence.tlog import TLOG_DIRECTORY, TransparencyLog, key_paths
from steelyard.observe.logs import log

# A disk that is full now may have room again.
TRIED_AGAIN_S = 30.0
# Events that one checkpoint is signed for, where many wait: a thousandth of a second each.
APPENDED_AT_ONCE = 4096


class Transparency:
    """Follows the event log. `failures` counts appends that the disk did not take.

    An event's caller does not wait for it: the chain of the event log holds what comes first, and what a server that
    was killed has not logged yet is logged at its next start.
    """

    def __init__(self, settings: Settings, clock: Clock, events: Sequence[Event]) -> None:
        """events: grows while the server runs.

        Raises EvidenceError as `TransparencyLog` does, and where the log has events that are not those in `events`.
        """
        self._events = events
        self._woken = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tlog")
        self.failures = 0
        self._logged = 0
        self._log: TransparencyLog | None = None
        directory = settings.data / TLOG_DIRECTORY
        if importlib.util.find_spec("cryptography") is None and not os.path.lexists(directory):
            log(
                "tlog.off",
                level=logging.WARNING,
                reason="the package cryptography is not installed: pip install 'steelyard[evidence]'",
            )
            return
        keys = key_paths(settings.data, settings.tlog_key, settings.witness_key)
        self._log = TransparencyLog(settings.data, keys, clock)
        last = self._log.last_event()
        if last is not None:
            _refuse_other(events, last)
            self._logged = last.sequence
        self._woken.set()

    @property
    def size(self) -> int:
        """Entries that the log has; 0 where there is none. Raises EvidenceError where it cannot be read."""
        return 0 if self._log is None else self._log.checkpoint().size

    @property
    def waiting(self) -> int:
        """Events that are not in the log yet."""
        return 0 if self._log is None else len(self._events) - self._logged

    @property
    def is_on(self) -> bool:
        """Whether there is a log: without the package that signs there is none."""
        return self._log is not None

    def wake(self) -> None:
        """Something was recorded."""
        self._woken.set()

    async def run(self) -> None:
        """Logs what is recorded, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._woken.wait()
            self._woken.clear()
            if not await loop.run_in_executor(self._thread, self._catch_up):
                loop.call_later(TRIED_AGAIN_S, self._woken.set)

    def close(self) -> None:
        """Logs what is left, and returns when that is done."""
        self._thread.submit(self._catch_up)
        self._thread.shutdown(wait=True)

    def _catch_up(self) -> bool:
        """On the thread: logs what has been recorded so far. False where the disk does not take it."""
        if self._log is None:
            return True
        try:
            while fresh := self._events[self._logged : self._logged + APPENDED_AT_ONCE]:
                self._log.append([entry_of(event) for event in fresh])
                self._logged += len(fresh)
        except EvidenceError as error:
            self.failures += 1
            log("tlog.failed", level=logging.ERROR, reason=str(error), waiting=self.waiting)
            return False
        return True


def _refuse_other(events: Sequence[Event], last: EventEntry) -> None:
    if last.sequence > len(events):
        raise EvidenceError(
            f"the transparency log has {last.sequence} events, and the event log only {len(events)}: "
            "some were removed (steelyard audit verify)"
        )
    # Each record holds the digest of the one before it: the last one stands for all.
    if entry_of(events[last.sequence - 1]) != last:
        raise EvidenceError(
            f"event {last.sequence} is not the one in the transparency log: the event log was changed "
            "(steelyard audit verify)"
        )
