"""Training data to its profile, in two readings of the file: the ranges of numbers, then everything."""

from steelyard.errors import DataError
from steelyard.models.profile import FORMAT, ColumnProfile, Profile
from steelyard.pipelines.profiling.data import Data
from steelyard.pipelines.profiling.numbers import Numbers, Range
from steelyard.pipelines.profiling.values import Booleans, Texts
from steelyard.pipelines.tabular.columns import Kind

# Numbers that are kept for quantiles: a quarter of a gibibyte over all columns, and so many of each at most.
MAX_SAMPLED_CELLS = 1 << 25
MAX_SAMPLE = 1 << 20

_NUMERIC = (Kind.NUMBER, Kind.INTEGER, Kind.DATE)


def make_profile(data: Data) -> Profile:
    """What the columns hold. Raises DataError where there is no row, or the file cannot be read to its end."""
    ranges = {name: Range() for name, kind in data.kinds.items() if kind in _NUMERIC}
    for batch in data.batches():
        for name, known in ranges.items():
            known.add(batch[name].values)
    sample = min(MAX_SAMPLE, MAX_SAMPLED_CELLS // max(1, len(ranges)))
    columns = {name: _Column(name, kind, ranges.get(name), sample) for name, kind in data.kinds.items()}
    for batch in data.batches():
        for name, cells in batch.items():
            column = columns[name]
            column.missing += cells.missing
            column.infinite += cells.infinite
            column.rows += len(cells.values) + cells.missing + cells.infinite
            column.figures.add(cells.values)
    rows = max(column.rows for column in columns.values())
    if rows == 0:
        raise DataError("expected at least one row, came none")
    return Profile(format=FORMAT, rows=rows, columns=tuple(column.profile() for column in columns.values()))


class _Column:
    """A column while it is read."""

    def __init__(self, name: str, kind: Kind, known: Range | None, sample: int) -> None:
        self.name = name
        self.kind = kind
        self.rows = self.missing = self.infinite = 0
        self.figures: Numbers | Texts | Booleans
        if known is not None:
            self.figures = Numbers(kind, known, sample)
        else:
            self.figures = Texts() if kind is Kind.TEXT else Booleans()

    def profile(self) -> ColumnProfile:
        present = self.rows - self.missing - self.infinite > 0
        figures = self.figures
        return ColumnProfile(
            name=self.name,
            kind=self.kind.name.lower(),  # type: ignore[arg-type]
            missing=self.missing,
            missing_share=self.missing / self.rows,
            infinite=self.infinite,
            numbers=figures.profile() if isinstance(figures, Numbers) and present else None,
            values=figures.values() if present else None,
            bytes=figures.lengths() if isinstance(figures, Texts) else None,
        )
