"""A file of training data, CSV or Parquet, read a batch of rows at a time."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from steelyard.errors import DataError
from steelyard.pipelines.profiling.cells import Cells
from steelyard.pipelines.tabular.columns import Kind
from steelyard.pipelines.tabular.declaration import MAX_COLUMNS
from steelyard.toml import did_you_mean

# As a manifest has it.
MAX_NAME_CHARS = 1024


class Data(Protocol):
    """Rows of named columns; every call of `batches` reads them anew."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Of every column that was not left out, in the file's order."""

    @property
    def missing_texts(self) -> Mapping[str, Sequence[str]]:
        """Texts that stand for a missing value, by column."""

    @property
    def notes(self) -> Sequence[str]:
        """What whoever reads the contract should know of the columns."""

    def batches(self) -> Iterator[Mapping[str, Cells]]:
        """Every column's cells, some rows at a time. Raises DataError, and what pyarrow raises."""


def chosen_names(names: Sequence[str], left_out: Collection[str]) -> list[str]:
    """The names without those left out. Raises DataError where they are not the names of a request's columns."""
    for name in left_out:
        if name not in names:
            raise DataError(f"no column '{name}' to leave out{did_you_mean(name, names)}")
    chosen = [name for name in names if name not in left_out]
    if not 0 < len(chosen) <= MAX_COLUMNS:
        raise DataError(f"expected 1 to {MAX_COLUMNS} columns, came {len(chosen)}")
    name, times = Counter(chosen).most_common(1)[0]
    if times > 1:
        raise DataError(f"expected every column's name once, came '{name}' {times} times")
    if "" in chosen:
        raise DataError(
            f"column {names.index('') + 1}: expected a name, came none; leave it out with --target ''"
        )
    longest = max(chosen, key=len)
    if len(longest) > MAX_NAME_CHARS:
        raise DataError(
            f"column '{longest:.40}...': expected at most {MAX_NAME_CHARS} characters in its name"
        )
    return chosen
