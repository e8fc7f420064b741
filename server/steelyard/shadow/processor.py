"""The processor and the memory that a shadow's process has, and how it gives way."""

import contextlib
import os
import threading
from pathlib import Path


class ProcessorWait:
    """How long a thread of this process has waited for a processor that others had; made on the thread itself."""

    def __init__(self) -> None:
        try:
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def ns(self) -> int:
        """So far, in ns; 0 where the kernel does not say. Any thread may ask while the thread lives."""
        if self._descriptor < 0:
            return 0
        return int(os.pread(self._descriptor, 128, 0).split()[1])

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def be_idle() -> None:
    """Lets this process, and its threads to come, run only where nobody else wants the processor."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        # The niceness of threads that are there does not follow; there is one so far.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 19)
