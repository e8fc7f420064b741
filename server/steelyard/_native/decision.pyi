"""Decision ids: UUIDv7 strings that only rise within a process. Twin: `steelyard.observe.decision_ids`."""

from typing import final

@final
class IdSource:
    """Ids from one 32-byte seed: the same seed and the same calls give the same ids."""

    def __init__(self, seed: bytes) -> None:
        """Raises ValueError where the seed is not 32 bytes or all zero."""

    def reseed(self, seed: bytes) -> None:
        """Goes on from another seed; the ids go on rising."""

    def new_ids(self, n: int, unix_ms: int) -> list[str]:
        """`n` new ids, each greater than all before. Raises ValueError as the module's `new_ids` does."""

def new_ids(n: int, unix_ms: int) -> list[str]:
    """`n` new decision ids of this process for requests of this millisecond, each greater than all before.

    Raises:
        ValueError: `n` is not 0..2**20, or the time not 0..2**48 - 1.
    """
