"""A disk and a clock that misbehave under real servers, and what these wrote and sent: see faults.c."""

import mmap
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

UNTIL_TOLD = -1
"""A delay for as long as it stays there."""

_SOURCE = Path(__file__).with_name("faults.c")
_CONTROL = struct.Struct("<q")
_NAMES = ("clock_ns", "write_delay_us", "write_errno", "sync_delay_us", "sync_errno", "open_errno")
_EVENT = struct.Struct("<4qQ4I")

_FRAME_BYTES = 9
_DATA, _HEADERS = 0, 1


class Call(IntEnum):
    """What a process asked of the kernel. The numbers are those of faults.c."""

    WRITE = 1
    SYNC = 2
    SEND = 3


@dataclass(frozen=True, slots=True)
class Event:
    """One call: from when to when in monotonic nanoseconds, on what, how it ended, and what was written by it."""

    call: Call
    began_ns: int
    ended_ns: int
    inode: int
    pid: int
    error: int
    data: bytes


class Faults:
    """What befalls servers that are started inside `faulty`; nothing as it is made."""

    def __init__(self, control: Path, log: Path) -> None:
        control.write_bytes(bytes(len(_NAMES) * _CONTROL.size))
        log.touch()
        self._log = log
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 0)

    def set(self, **values: int) -> None:
        """clock_ns: how far ahead the wall clock is. write_delay_us, sync_delay_us: what each write or sync takes
        longer, `UNTIL_TOLD` until that is changed. write_errno, sync_errno, open_errno (for writing): how it fails, 0
        not at all."""
        for name, value in values.items():
            _CONTROL.pack_into(self._control, _NAMES.index(name) * _CONTROL.size, value)

    def events(self) -> list[Event]:
        """All that was logged, in the order in which it ended."""
        data = self._log.read_bytes()
        found = []
        at = 0
        while at + _EVENT.size <= len(data):
            began_ns, ended_ns, _, _, inode, pid, kind, error, size = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            found.append(Event(Call(kind), began_ns, ended_ns, inode, pid, error, data[at : at + size]))
            at += size
        return found


@contextmanager
def faulty(root: Path, under: str) -> Iterator[Faults]:
    """Processes that are started inside suffer what is set. under: a part of the paths that are meant."""
    library, control, log = root / "faults.so", root / "faults.control", root / "faults.log"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE)], check=True)
    faults = Faults(control, log)
    preloaded = " ".join(filter(None, (os.environ.get("LD_PRELOAD"), str(library))))
    given = {
        "LD_PRELOAD": preloaded,
        "FAULTS_CONTROL": str(control),
        "FAULTS_LOG": str(log),
        "FAULTS_UNDER": under,
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield faults
    finally:
        faults.set(**dict.fromkeys(_NAMES, 0))
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(slots=True)
class Answer:
    """One stream of one HTTP/2 connection, as its server wrote it."""

    began_ns: int
    """When the call began that wrote its first byte."""
    body: bytes = b""


def answers(events: list[Event], pid: int) -> list[Answer]:
    """What a process answered over HTTP/2, without TLS: a stream each."""
    found: dict[tuple[int, int], Answer] = {}
    held: dict[int, bytearray] = {}
    # Where the bytes of a connection end that each call has written, and when it began.
    written: dict[int, list[tuple[int, int]]] = {}
    for event in events:
        if event.call is Call.SEND and event.pid == pid:
            data = held.setdefault(event.inode, bytearray())
            data += event.data
            written.setdefault(event.inode, []).append((len(data), event.began_ns))
    for inode, data in held.items():
        at, ends = 0, iter(written[inode])
        end, began_ns = next(ends)
        while at + _FRAME_BYTES <= len(data):
            while end <= at:
                end, began_ns = next(ends)
            size, kind = int.from_bytes(data[at : at + 3], "big"), data[at + 3]
            stream = int.from_bytes(data[at + 5 : at + _FRAME_BYTES], "big")
            if kind in (_DATA, _HEADERS):
                answer = found.setdefault((inode, stream), Answer(began_ns))
                if kind == _DATA:
                    answer.body += bytes(data[at + _FRAME_BYTES : at + _FRAME_BYTES + size])
            at += _FRAME_BYTES + size
    return list(found.values())


def is_on_disk_before(events: list[Event], text: bytes, moment_ns: int) -> bool:
    """Whether `text` had been written to a file, and a sync of that file, begun after that, had returned without an
    error, before `moment_ns`."""
    writes = [one for one in events if one.call is Call.WRITE and not one.error and text in one.data]
    return any(
        sync.call is Call.SYNC
        and not sync.error
        and sync.inode == write.inode
        and write.ended_ns <= sync.began_ns
        and sync.ended_ns <= moment_ns
        for write in writes
        for sync in events
    )
