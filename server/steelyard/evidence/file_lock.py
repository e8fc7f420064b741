"""A file's lock that is waited for no longer than so long: who has it may have been stopped."""

import fcntl
import time

# A wait for it costs a hundred calls a second.
_ASKED_EVERY_S = 0.01


def lock_within(descriptor: int, operation: int, within_s: float) -> bool:
    """Takes the lock of an open file, and says whether it could be had within so many seconds; 0: now or not.

    operation: LOCK_EX or LOCK_SH. The lock goes with the descriptor. Raises OSError where the file cannot be locked.
    """
    until_s = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until_s:
                return False
        time.sleep(_ASKED_EVERY_S)
