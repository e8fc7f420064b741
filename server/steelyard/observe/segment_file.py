"""A worker's shared segment before anybody has written to it."""

import fcntl
import os
import struct

from steelyard.observe.layout import (
    DIRECTORY_WORD,
    ENTRY_WORDS,
    LAYOUT_VERSION,
    MAGIC,
    OTHER_MODEL,
    OTHER_SLOT,
    SEGMENT_BYTES,
    SLOTS,
    Entry,
    Header,
)


def create_segment(name: str) -> int:
    """Makes an empty segment and gives its file descriptor, which the caller owns and hands to one worker.

    It is sparse, has no path, and goes with its last descriptor. It is sealed against resizing, because a
    reader of a file that a broken worker cut short would die of SIGBUS.
    """
    fd = os.memfd_create(f"steelyard-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, SEGMENT_BYTES)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    for word, value in (
        (Header.MAGIC, MAGIC),
        (Header.LAYOUT_VERSION, LAYOUT_VERSION),
        (Header.SLOTS, SLOTS),
        (Header.SLOTS_USED, OTHER_SLOT + 1),
        *((_entry(slot, Entry.USED), 1) for slot in range(OTHER_SLOT + 1)),
        (_entry(OTHER_SLOT, Entry.MODEL_LENGTH), len(OTHER_MODEL.encode())),
    ):
        os.pwrite(fd, struct.pack("=Q", value), 8 * word)
    os.pwrite(fd, OTHER_MODEL.encode(), 8 * _entry(OTHER_SLOT, Entry.MODEL))
    return fd


def _entry(slot: int, word: int) -> int:
    return DIRECTORY_WORD + slot * ENTRY_WORDS + word
