"""A file of payloads that holds up whoever reads all of them, until it is told to let go."""

import os
from pathlib import Path

from steelyard.evidence.payload_files import PAYLOADS, SUFFIX


class HeldUp:
    """A pipe in the place of a file: whoever opens it waits for its writer. `find` of a decision passes it over, as it
    was begun long after that, or was not changed since long before."""

    def __init__(self, data: Path, model: str, *, last: bool = True) -> None:
        """last: whether it comes after the model's other files, else before them."""
        self.path = data / PAYLOADS / model / f"{'9' * 13 if last else '0' * 13}-worker-9-1{SUFFIX}"
        os.mkfifo(self.path)
        if not last:
            os.utime(self.path, (0, 0))

    def let_go(self) -> None:
        """Waits for the one who is held up, and lets them go on as if the file were empty; holds up nobody else."""
        writer = os.open(self.path, os.O_WRONLY)
        self.path.unlink()
        os.close(writer)
