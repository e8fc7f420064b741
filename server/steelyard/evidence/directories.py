"""Names in a directory: a file that is synced may still be lost with its name, until the directory is synced too."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Returns when the names in a directory are on disk. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
