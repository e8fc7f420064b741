"""What a candidate is running at this moment, seen from outside its process."""

import mmap
import struct


class RunningUnit:
    """How many requests the candidate is running, in memory that outlives the process that runs them.

    Two words of 8 bytes: requests that the primary answered, and such as it failed on. Whoever made the memory reads
    after the process's end what it did not survive.
    """

    _WORDS = struct.Struct("<QQ")

    def __init__(self, descriptor: int | None = None) -> None:
        """descriptor: of a file of 16 bytes; None: nobody else is to see it."""
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, self._WORDS.size)

    def begins(self, answered: int, failed: int) -> None:
        """The candidate is given so many requests."""
        self._WORDS.pack_into(self._memory, 0, answered, failed)

    def done(self) -> None:
        """It has come back."""
        self._WORDS.pack_into(self._memory, 0, 0, 0)

    def read(self) -> tuple[int, int]:
        """Requests that were being run: such as the primary answered, and such as it failed on."""
        answered, failed = self._WORDS.unpack_from(self._memory)
        return answered, failed
