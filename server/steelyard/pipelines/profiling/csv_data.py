"""Training data in CSV: the kind of each column is found from all its texts before any is read as a value."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from steelyard._native import tabular as native
from steelyard.errors import DataError
from steelyard.pipelines.profiling.cells import Cells, numbers_of
from steelyard.pipelines.profiling.data import chosen_names
from steelyard.pipelines.tabular.columns import Kind

# Texts that are read at a time, of all columns together; the longest row that can be read.
_BLOCK_BYTES = 4 << 20

# What programs write for a missing value. In a column of texts only the empty one is: "NA" may be a name.
MISSING = ("", "NA", "NaN", "nan", "null")
MISSING_TEXT = ("",)

# A leading zero or plus is part of a name, such as a postal code or a telephone number.
_INTEGER = r"^-?(0|[1-9][0-9]*)$"
_NUMBER = r"^-?(((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|(?i:inf|infinity))$"


class CsvData:
    """The rows of a CSV file with a line of names."""

    def __init__(
        self, path: Path, left_out: Collection[str], missing_texts: Sequence[str], delimiter: str
    ) -> None:
        self._path = path
        self._parse = pcsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        with self._open(None) as reader:
            self._names = chosen_names(reader.schema.names, left_out)
        self.notes: list[str] = []
        self.kinds: dict[str, Kind] = {}
        self.missing_texts: dict[str, Sequence[str]] = {}
        self._find_kinds(tuple(missing_texts))
        self._words = {
            name: _strings(self.missing_texts[name] if kind is Kind.TEXT else (*MISSING, *missing_texts))
            for name, kind in self.kinds.items()
        }

    def _open(self, names: list[str] | None) -> pcsv.CSVStreamingReader:
        """Every column as texts; without names, only to be asked for them."""
        convert = pcsv.ConvertOptions(
            column_types={name: pa.large_string() for name in names or ()},
            include_columns=names,
            null_values=[],
            strings_can_be_null=False,
        )
        return pcsv.open_csv(
            self._path, pcsv.ReadOptions(block_size=_BLOCK_BYTES), self._parse, convert_options=convert
        )

    def _find_kinds(self, given: tuple[str, ...]) -> None:
        possible = {name: list(_READERS) for name in self._names}
        filled: set[str] = set()
        huge: set[str] = set()
        seen: dict[str, set[str]] = {name: set() for name in self._names}
        words = _strings((*MISSING, *given))
        for batch in self._texts():
            for name, texts in batch.items():
                trimmed = _trimmed(texts)
                is_missing = pc.is_in(trimmed, words)
                seen[name].update(pc.unique(texts.filter(is_missing)).to_pylist())
                present = trimmed.filter(pc.invert(is_missing))
                if not len(present):
                    continue
                filled.add(name)
                was_integer = Kind.INTEGER in possible[name]
                possible[name] = [kind for kind in possible[name] if _READERS[kind](present) is not None]
                if was_integer and possible[name] == [Kind.NUMBER] and _all_match(present, _INTEGER):
                    huge.add(name)
        for name in self._names:
            kind = next(iter(possible[name]), Kind.TEXT) if name in filled else Kind.TEXT
            self.kinds[name] = kind
            known = (*(MISSING_TEXT if name in filled and kind is Kind.TEXT else MISSING), *given)
            self.missing_texts[name] = [text for text in known if text in seen[name]]
            if name in huge and kind is Kind.NUMBER:
                self.notes.append(
                    f"column '{name}': whole numbers beyond 64 bits, so it is a column of numbers"
                )

    def _texts(self) -> Iterator[dict[str, Any]]:
        with self._open(self._names) as reader:
            for batch in reader:
                yield {name: batch.column(name) for name in self._names}

    def batches(self) -> Iterator[Mapping[str, Cells]]:
        for texts in self._texts():
            yield {name: self._cells(name, texts[name]) for name in self._names}

    def _cells(self, name: str, texts: Any) -> Cells:
        kind = self.kinds[name]
        if kind is not Kind.TEXT:
            texts = _trimmed(texts)
        present = texts.filter(pc.invert(pc.is_in(texts, self._words[name])))
        missing = len(texts) - len(present)
        if kind is Kind.TEXT:
            return Cells(present, missing)
        values = _READERS[kind](present)
        if values is None:
            raise DataError(f"column '{name}': changed while it was read")
        return numbers_of(values, missing) if kind is Kind.NUMBER else Cells(values, missing)


def _strings(texts: Sequence[str]) -> Any:
    return pa.array(list(dict.fromkeys(texts)), pa.large_string())


def _trimmed(texts: Any) -> Any:
    return pc.utf8_trim(texts, characters=" \t")


def _all_match(texts: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py())


def _booleans(texts: Any) -> NDArray[Any] | None:
    lower = pc.utf8_lower(texts)
    if not pc.all(pc.is_in(lower, _strings(("true", "false"))), min_count=0).as_py():
        return None
    return np.asarray(pc.equal(lower, "true").to_numpy(zero_copy_only=False), np.bool_)


def _integers(texts: Any) -> NDArray[Any] | None:
    if not _all_match(texts, _INTEGER):
        return None
    try:
        return np.asarray(texts.cast(pa.int64()).to_numpy())
    except pa.ArrowInvalid:  # beyond 64 bits
        return None


def _numbers(texts: Any) -> NDArray[Any] | None:
    return np.asarray(texts.cast(pa.float64()).to_numpy()) if _all_match(texts, _NUMBER) else None


def _dates(texts: Any) -> NDArray[Any] | None:
    """By the parser that reads requests."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    values = np.zeros(len(texts), np.int64)
    missing = np.zeros(len(texts), np.bool_)
    starts = np.ascontiguousarray(bounds[:-1])
    wrong = native.read_dates(b"" if data is None else data, starts, np.diff(bounds), missing, values)
    return None if wrong else values


# In the order in which a column of texts that are all of several kinds becomes one.
_READERS: dict[Kind, Callable[[Any], NDArray[Any] | None]] = {
    Kind.BOOLEAN: _booleans,
    Kind.INTEGER: _integers,
    Kind.NUMBER: _numbers,
    Kind.DATE: _dates,
}
