"""The one tag of EXIF that changes what an image looks like: its orientation."""

import struct

ORIENTATION = 0x0112
SHORT, LONG = 3, 4
# Entries of the first directory that are looked at. Cameras write some tens; the tag stands near the beginning, as
# entries are sorted.
MOST_ENTRIES = 512


def orientation_of(tiff: memoryview) -> int:
    """1 to 8 from a TIFF block (EXIF without its `Exif` prefix); 1 where it has none, or makes no sense.

    A broken EXIF block does not make an image unreadable, so nothing is raised.
    """
    if len(tiff) < 8:
        return 1
    order = {b"II": "<", b"MM": ">"}.get(bytes(tiff[:2]))
    if order is None:
        return 1
    magic, at = struct.unpack_from(order + "HI", tiff, 2)
    if magic != 42 or at > len(tiff) - 2:
        return 1
    (entries,) = struct.unpack_from(order + "H", tiff, at)
    at += 2
    for _ in range(min(entries, MOST_ENTRIES)):
        if len(tiff) - at < 12:
            break
        tag, kind, count = struct.unpack_from(order + "HHI", tiff, at)
        if tag == ORIENTATION:
            if count != 1 or kind not in (SHORT, LONG):
                break
            (value,) = struct.unpack_from(order + ("H" if kind == SHORT else "I"), tiff, at + 8)
            return value if 1 <= value <= 8 else 1
        at += 12
    return 1
