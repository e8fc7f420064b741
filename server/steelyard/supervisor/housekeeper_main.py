"""The housekeeper's process: seals the journal and removes what is old. Run by the supervisor with two descriptors."""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from steelyard.clock import SystemClock
from steelyard.config import Settings
from steelyard.errors import EvidenceError, SteelyardError
from steelyard.evidence.feedback_removal import expire_feedback
from steelyard.evidence.footers import Footers
from steelyard.evidence.ledger import SEALED_DIRECTORY, Removed, Sealed
from steelyard.evidence.logging_segments import SegmentLogging
from steelyard.evidence.payload_retention import remove_old_payloads
from steelyard.evidence.pressure import Pressure, Waited
from steelyard.evidence.retention import Expiring, remove_old
from steelyard.evidence.sealing import Sealing, Unsealed
from steelyard.evidence.tlog import TLOG_DIRECTORY, TransparencyLog, key_paths
from steelyard.observe.layout import Stage
from steelyard.observe.logs import configure_logs, log
from steelyard.observe.segment import SegmentReader
from steelyard.shadow.processor import be_idle
from steelyard.supervisor.channel import EXIT_REFUSED, Channel
from steelyard.supervisor.housekeeper_audit import ScheduledAudit
from steelyard.supervisor.housekeeper_line import Line

# How often it looks for closed files. Retention is looked at after every so many looks.
LOOK_S = 1.0
LOCK_FILE = ".housekeeper"
RETENTION_EVERY = 60


class Housekeeping:
    """Works on a thread of its own until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        readers: list[SegmentReader],
        expiring: Expiring = lambda model, files: None,
    ) -> None:
        """Raises EvidenceError or OSError where the data directory cannot be read or written."""
        self.stopped = threading.Event()
        self._lock = _alone(settings.data / SEALED_DIRECTORY)
        self._settings = settings
        self._readers = readers
        self._expiring = expiring
        self._pressure = Pressure(self._waited, sleep=lambda seconds: void(self.stopped.wait(seconds)))
        self._logging: SegmentLogging | None = None
        self._sealing = Sealing(settings.data, self._committed, self._pause)
        # The supervisor has made it before, where there is to be one.
        if (settings.data / TLOG_DIRECTORY).is_dir():
            keys = key_paths(settings.data, settings.tlog_key, settings.witness_key)
            there = TransparencyLog(settings.data, keys, SystemClock())
            self._logging = SegmentLogging(settings.data, there, self._pause)
        self._footers = Footers(_tell_unread, self._pause)
        self._told: set[Unsealed] = set()
        self._looks = 0
        self._caught_up = False
        self._sealed_s = 0.0
        self._audit = ScheduledAudit(settings, SystemClock())

    def _committed(self, sealed: Sealed) -> None:
        if self._logging is not None:
            self._logging.commit(sealed)

    def run(self) -> None:
        """Seals and removes until `stopped` is set."""
        while not self.stopped.is_set():
            try:
                self._look()
            except _Stopped:
                return
            self.stopped.wait(LOOK_S)

    def close(self) -> None:
        """Lets another work there; call when `run` has returned."""
        os.close(self._lock)

    def _look(self) -> None:
        self._try(self._seal)
        self._looks += 1
        if self._looks % RETENTION_EVERY == 1:
            # First what is removed without a word to be written before: of a full disk that makes room for the others.
            for step in (self._remove_payloads, self._remove_sealed, self._remove_feedback):
                self._try(step)
        if self._logging is not None and self._audit.is_due:
            self._try(lambda: self._audit.run(self._between))

    def _try(self, step: Callable[[], None]) -> None:
        """What goes wrong in one step must not keep the others from being done."""
        try:
            step()
        except _Stopped:
            raise
        except Exception as error:
            log("housekeeper.failed", level=logging.ERROR, reason=str(error) or repr(error))

    def _seal(self) -> None:
        self._sealed_s = time.monotonic()
        if self._logging is not None and not self._caught_up:
            for why in self._logging.catch_up(self._sealing.ledger):
                log("segments.not_logged", level=logging.ERROR, reason=why)
            self._caught_up = True
        for one in self._sealing.all_closed():
            if isinstance(one, Sealed):
                self._tell(one)
            elif one not in self._told:
                self._told.add(one)
                log("journal.not_sealed", level=logging.ERROR, segment=one.segment, reason=one.why)
            self._pause()

    def _remove_payloads(self) -> None:
        settings = self._settings
        for model, files in remove_old_payloads(
            settings.data, settings.repository, time.time_ns(), self._pause
        ):
            log("payloads.removed", model=model, files=files)

    def _remove_sealed(self) -> None:
        settings, ledger = self._settings, self._sealing.ledger
        for gone in remove_old(
            settings.data,
            settings.repository,
            ledger,
            time.time_ns(),
            self._pause,
            self._expiring,
            self._footers,
        ):
            _tell_removed(gone)

    def _remove_feedback(self) -> None:
        settings = self._settings
        if lines := expire_feedback(
            settings.data, settings.feedback_retention_days, time.time_ns() // 1_000_000
        ):
            log("feedback.removed", lines=lines)

    def _between(self) -> None:
        """Between two steps of an audit, which may take an hour: the journal does not grow meanwhile."""
        self._pause()
        if time.monotonic() - self._sealed_s >= LOOK_S:
            self._seal()

    def _tell(self, sealed: Sealed) -> None:
        log(
            "journal.sealed",
            segment=sealed.segment,
            files=len(sealed.files),
            records=sum(summary.records for summary in sealed.files.values()),
            notes=sealed.notes,
            missing=sum(gap.count for gap in sealed.gaps),
            torn_bytes=sealed.torn_bytes,
            waits=self._pressure.waits,
        )

    def _pause(self) -> None:
        if self.stopped.is_set():
            raise _Stopped
        self._pressure.pause()
        if self.stopped.is_set():
            raise _Stopped

    def _waited(self) -> Waited:
        queues = [slot.stages[Stage.QUEUE] for reader in self._readers for slot in reader.snapshot().slots]
        return Waited(sum(queue.count for queue in queues), sum(queue.sum_ns for queue in queues))


def _alone(directory: Path) -> int:
    """A lock, for as long as its descriptor is open: a server that was killed may leave a housekeeper that ends its
    step first, and two would each undo what the other writes down. Raises EvidenceError where another has it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise EvidenceError(f"{directory}: another housekeeper is at work there") from None
    return fd


class _Stopped(Exception):
    """The process is to end; what is half done is gone on with at the next start."""


def void(value: object) -> None:
    """Takes a result that nobody wants."""


def _tell_unread(path: Path, why: str) -> None:
    log("sealed.unreadable", level=logging.ERROR, file=str(path), reason=why)


def _tell_removed(gone: Removed) -> None:
    log("journal.removed", file=gone.file, why=gone.why, records=gone.records)


async def serve(control: socket.socket) -> int:
    """Works until the supervisor says stop or is gone; returns the exit status."""
    channel = await Channel.open(control)
    first = await channel.receive()
    if first is None:
        return 0
    settings = Settings.model_validate_json(first["settings"])
    configure_logs("housekeeper", settings.log_level, settings.log_format)
    line = Line(channel)
    try:
        work = Housekeeping(settings, [SegmentReader(fd) for fd in first["segments"]], line.expire)
    except (SteelyardError, OSError, ValueError) as error:
        channel.send({"refused": str(error)})
        await channel.close()
        return EXIT_REFUSED
    channel.send({"at_work": True})
    log("housekeeper.started", data=str(settings.data), pid=os.getpid())
    working = asyncio.ensure_future(asyncio.to_thread(work.run))
    told = asyncio.ensure_future(line.listen())
    await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
    work.stopped.set()
    told.cancel()
    line.close()
    await working
    work.close()
    await channel.close()
    return 0


def main() -> None:
    """Takes the descriptor of the control socket; a second one is there for all such processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    be_idle()
    status = asyncio.run(serve(socket.socket(fileno=int(sys.argv[1]))))
    logging.shutdown()
    os._exit(status)


if __name__ == "__main__":
    main()
