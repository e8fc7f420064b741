"""Features of tabular rows, a block of rows at a time. Twin: `steelyard.pipelines.plain.tabular`."""

from collections.abc import Sequence
from typing import Any, final

OUTPUT_TYPES: dict[str, int]

@final
class Vocabulary:
    """Categories, by their bytes, and a number for each; unchanging."""

    def __init__(self, keys: list[bytes], values: Sequence[int]) -> None:
        """Raises ValueError where a key is listed twice, or keys and values are not as many."""

    def __len__(self) -> int: ...
    def find(self, key: bytes) -> int | None:
        """The number of `key`, or None."""

@final
class Program:
    """Compiled chains of `steelyard.pipelines.tabular.operations`; any number of threads may run one."""

    def __init__(self, chains: list[Any], columns: int, width: int, datatype: str) -> None:
        """chains: of `operations.Chain`. Raises ValueError where operations do not fit each other."""

    def run(
        self, sources: list[tuple[Any, ...]], start: int, rows: int, out: Any
    ) -> list[tuple[int, int, int]]:
        """Rows `start` to `start + rows` of the columns into `out`; the rows that break a rule.

        sources: for each column its `buffers`. out: a writable C-contiguous buffer of [rows, width] elements;
        None: only to find what breaks a rule. Returns (row from `start` on, chain, rule); of more than 16384,
        one for each row. Raises ValueError where a buffer is too small.
        """

def hash_bytes(data: bytes, seed: int = 0) -> int:
    """XXH64 of `data`."""

def mark_missing(source: list[Any], words: Vocabulary, missing: Any) -> None:
    """Sets `missing`, a byte a row, where a text is one of `words`. source: starts, lengths, data."""
