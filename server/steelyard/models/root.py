"""The directory that a model repository is."""

import os
from pathlib import Path

from steelyard.errors import RepositoryError


def read_root(root: Path) -> list[os.DirEntry[str]]:
    """What is in the repository at `root` and not hidden, in no order.

    Raises RepositoryError where `root` is not there, is no directory, or cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        raise RepositoryError(f"{root}: expected a model repository, but nothing is there") from None
    except NotADirectoryError:
        raise RepositoryError(
            f"{root}: expected a model repository, got something that is no directory"
        ) from None
    except OSError as exc:
        raise RepositoryError(f"{root}: the model repository cannot be read: {exc.strerror}") from exc
