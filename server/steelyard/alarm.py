"""An alarm at a moment of the monotonic clock, as a file descriptor that an event loop watches.

Timers of event loops go by whole milliseconds: a batch, or a request of the load generator's, would leave up to one too
late, and for less than half of one a loop goes round without a rest. `timerfd_create(2)` is as fine as the kernel's own
timers; Python has it from 3.13 on.
"""

import contextlib
import ctypes
import os

_CLOCK_MONOTONIC = 1
_TIMER_ABSTIME = 1
_NS = 1_000_000_000


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


_libc = ctypes.CDLL(None, use_errno=True)


class Alarm:
    """Readable from the moment that was set until it is read."""

    def __init__(self) -> None:
        self.descriptor: int = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _TimerSpec()

    def set(self, moment_ns: int) -> None:
        """Goes off at `moment_ns` of `time.monotonic_ns`, at once where that is over."""
        # A time of 0 would switch it off.
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(max(1, moment_ns), _NS)
        if _libc.timerfd_settime(self.descriptor, _TIMER_ABSTIME, ctypes.byref(self._spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def read(self) -> None:
        """Takes notice that it went off."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, 8)

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self.descriptor)
