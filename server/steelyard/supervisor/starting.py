"""How the supervisor starts a process of its own kind: with a line to it, and descriptors that it inherits."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterable

# glibc gives memory back to the system as soon as 128 KB at the end of its heap are free, and asks for it again with
# the next batch: a tenth of what a batch of 500 KB costs, measured. So much may stay; what is larger than 32 MiB (the
# most that can be set) still comes from and goes to the system at once.
MALLOC_SETTINGS = {"MALLOC_TRIM_THRESHOLD_": str(128 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}


async def start_module(
    module: str, told_fd: int, more_fds: Iterable[int] = ()
) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """Executes `python -m module LINE TOLD`: the descriptors of its end of the line, and of `told_fd`. Returns the
    process and our end of the line. It inherits `more_fds` as well."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            module,
            str(theirs.fileno()),
            str(told_fd),
            stdin=asyncio.subprocess.DEVNULL,
            env=MALLOC_SETTINGS | os.environ,
            pass_fds=sorted({theirs.fileno(), told_fd, *more_fds}),
        )
    return process, ours
