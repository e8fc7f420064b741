"""Texts that mean a missing value, such as "" and "NA"."""

from collections.abc import Sequence
from typing import Any

from steelyard._native import tabular as native


class MissingTexts:
    """The texts of one column that count as missing."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = list(dict.fromkeys(text.encode() for text in texts))
        self._words = native.Vocabulary(words, range(len(words))) if words else None

    def mark(self, starts: Any, lengths: Any, data: Any, missing: Any) -> None:
        """Sets `missing` where a text is one of them; int64 [rows] twice, a buffer, and bool [rows]."""
        if self._words is not None:
            native.mark_missing(data, starts, lengths, missing, self._words)
