"""Flat JSON objects, one a row, straight into columns. Twin: `steelyard.pipelines.plain.json_rows`."""

from collections.abc import Sequence
from typing import Any, final

@final
class RowReader:
    """Reads rows of named columns; any number of threads may use one."""

    def __init__(self, names: list[bytes], kinds: Sequence[int], required: Sequence[bool]) -> None:
        """kinds: of `steelyard.pipelines.tabular.columns.Kind`. Raises ValueError where a name comes twice."""

    def read(
        self, data: Any, rows: int, values: Any, lengths: Any, missing: Any, arena: Any
    ) -> list[tuple[int, int, int, int, int]]:
        """Reads the raw form of a BYTES tensor of `rows` elements, each an object.

        values, lengths: int64 [columns, rows] (doubles by their bits; of a text where in `arena` it starts);
        missing: bytes [columns, rows]; arena: as many bytes as `data`. All but the arena are written whole.
        Returns what rows break: (row, column or -1, position in `JSON_RULES`, start, size), the last two saying
        where in `data` it stands; of more than 16384, the first of each row. Raises ValueError where a buffer
        is too small or `data` is not of so many elements.
        """
