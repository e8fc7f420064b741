"""What the kernel says of a worker's process, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """Memory, processor time, threads and descriptors of one process at one moment."""

    resident_bytes: int
    cpu_seconds: float
    threads: int
    open_fds: int


def process_use(pid: int) -> ProcessUse | None:
    """What the process uses, or None where it is gone or may not be looked at."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        open_fds = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    # The command's name stands in brackets and may hold anything, brackets too; numbers follow the last one.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return ProcessUse(
        resident_bytes=int(fields[21]) * _PAGE_BYTES,
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND,
        threads=int(fields[17]),
        open_fds=open_fds,
    )
