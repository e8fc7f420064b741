"""Windows of files in plain Python: what the native ones are held against."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.pipelines.elements import elements

Array = npt.NDArray[Any]

TABLE_ITEMS = 257


class Windows:
    """As `steelyard._native.windows.Windows`, and with the same errors."""

    def __init__(
        self,
        *,
        begin: int,
        middle: int,
        end: int,
        block: int,
        strip: bool,
        minimum: int,
        table: bytes,
        item_bytes: int,
    ) -> None:
        if min(begin, middle, end, minimum) < 0 or block < 1 or begin + middle + end < 1:
            raise ValueError("expected sizes that are not negative, and at least one token")
        if item_bytes not in (1, 2, 4, 8) or len(table) != TABLE_ITEMS * item_bytes:
            raise ValueError(f"expected {TABLE_ITEMS} elements of 1, 2, 4 or 8 bytes, got {len(table)} bytes")
        self.begin, self.middle, self.end = begin, middle, end
        self.block, self.strip, self.minimum = block, strip, minimum
        self._table = np.frombuffer(table, f"<u{item_bytes}")

    @property
    def tokens(self) -> int:
        return self.begin + self.middle + self.end

    def short(self, data: bytes | memoryview, rows: int) -> list[tuple[int, int]]:
        return [
            (row, len(first))
            for row, first in enumerate(self._first(content) for content in elements(data, rows))
            if len(first) < self.minimum
        ]

    def fill(self, target: Array, data: bytes | memoryview) -> None:
        items = target.view(self._table.dtype).reshape(-1, self.tokens)
        for row, content in zip(items, elements(data, len(items)), strict=True):
            row[:] = [self._table[token] for token in self._tokens(content)]

    def _first(self, content: bytes) -> bytes:
        first = content[: self.block]
        return first.lstrip() if self.strip else first

    def _tokens(self, content: bytes) -> Iterator[int]:
        pad = TABLE_ITEMS - 1
        first = self._first(content)[: self.begin]
        yield from first
        yield from [pad] * (self.begin - len(first))
        size = min(len(content), self.middle)
        start = (len(content) - size) // 2
        yield from content[start : start + size]
        yield from [pad] * (self.middle - size)
        last = content[-self.block :]
        if self.strip:
            last = last.rstrip()
        last = last[max(0, len(last) - self.end) :]
        yield from [pad] * (self.end - len(last))
        yield from last
