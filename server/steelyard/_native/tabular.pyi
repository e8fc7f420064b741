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

def split_texts(data: Any, starts: Any, lengths: Any, missing: Any) -> list[int]:
    """Where the elements of a BYTES tensor's raw form begin, int64 [rows] twice, and which are missing: none.

    Returns the rows that are not UTF-8; they are missing. Raises ValueError where there are not so many elements.
    """

def check_texts(data: Any, starts: Any, lengths: Any, missing: Any) -> list[int]:
    """The rows that are not UTF-8, of those that are not missing; they become so.

    Raises ValueError where a text lies outside its data, as do the next two.
    """

def read_dates(data: Any, starts: Any, lengths: Any, missing: Any, dates: Any) -> list[int]:
    """Writes the dates that texts hold, int64 microseconds from 1970; returns the rows that hold none.

    These become missing. A date is YYYY-MM-DD, and with T or a space HH:MM, :SS, a fraction of at most 9 digits
    (cut to microseconds), and Z or an offset; without these it is UTC.
    """

def copy_floats(data: Any, values: Any, missing: Any) -> bool:
    """float32 or float64 elements as float64, and which of them are NaN; whether one is infinite.

    data: a buffer of [rows] elements, at any address; values: float64 [rows]; missing: a byte a row. Raises
    ValueError where sizes do not fit.
    """

def mark_missing(data: Any, starts: Any, lengths: Any, missing: Any, words: Vocabulary) -> None:
    """Sets `missing`, a byte a row, where a text is one of `words`."""

def split_elements_of(data: Any, starts: Any, lengths: Any) -> None:
    """Where the elements of a BYTES tensor's raw form begin and how long they are, int64 [rows] twice.

    Raises ValueError where there are not so many elements.
    """

@final
class Checks:
    """Compiled checks of some columns; any number of threads may run one."""

    def __init__(self, checks: list[Any]) -> None:
        """checks: of `operations.CellCheck`, one a column. Raises ValueError where one cannot be."""

    def run(self, sources: list[tuple[Any, ...]], rows: int, broken: Any) -> int:
        """Writes into `broken` the `operations.CellRule` that each cell breaks, 0 for none; how many break one.

        sources: for each column its `buffers`. broken: a writable C-contiguous buffer of [columns, rows] bytes.
        Raises ValueError where a buffer is too small, or a text lies outside its data.
        """
