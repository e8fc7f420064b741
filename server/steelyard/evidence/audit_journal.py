"""Verifies the checksums of the journal's files, which hold what is not sealed yet."""

import fcntl
import os
from pathlib import Path

from steelyard.evidence.fault import Fault
from steelyard.evidence.frames import FRAME, MAX_FRAME_BYTES, read_frames


def check_journal(data: Path) -> list[Fault]:
    """What is wrong with the journal in a data directory. A frame that is being written now is no fault."""
    faults = []
    for path in sorted((data / "journal").glob("worker-*/*.log")):
        try:
            is_written = _is_locked(path)
            content = path.read_bytes()
        except FileNotFoundError:  # sealed meanwhile
            continue
        except OSError as error:
            faults.append(Fault(str(path), f"cannot be read: {error.strerror}"))
            continue
        good = max((after for _, _, after in read_frames(content)), default=0)
        if good < len(content) and not (is_written and _is_begun(content, good)):
            faults.append(
                Fault(
                    str(path),
                    f"damaged after byte {good} of {len(content)}, or its writer was killed and no server has started "
                    "since",
                )
            )
    return faults


def _is_begun(content: bytes, offset: int) -> bool:
    """Whether what stands at `offset` can be a frame of which the rest is still to come."""
    if len(content) - offset < FRAME.size:
        return True
    length = int(FRAME.unpack_from(content, offset)[0])
    return len(content) < offset + FRAME.size + length <= offset + FRAME.size + MAX_FRAME_BYTES


def _is_locked(path: Path) -> bool:
    """Whether a writer has the file, which holds its lock for as long as it writes."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
