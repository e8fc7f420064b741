"""A bell: rung on one thread without waiting, it wakes another that polls."""

import contextlib
import os


class Bell:
    """Wakes a thread that polls; the descriptor lives as long as anybody who might ring."""

    # Until one could be had.
    fd = -1

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def ring(self) -> None:
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
