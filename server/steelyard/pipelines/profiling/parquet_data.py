"""Training data in Parquet: kinds from the schema, rows a batch at a time whatever the size of a row group."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steelyard.pipelines.profiling.cells import Cells, cells_of, fits_int64, kind_of
from steelyard.pipelines.profiling.data import chosen_names
from steelyard.pipelines.tabular.columns import Kind

BATCH_ROWS = 65_536
# A column's pages are read through a buffer of this size. Otherwise a row group is read at once, and of those of
# the whole file, which pyarrow reads ahead unless told otherwise, none is given back before the last.
_BUFFER_BYTES = 1 << 20


class ParquetData:
    """The rows of a Parquet file."""

    def __init__(self, path: Path, left_out: Collection[str], missing_texts: Sequence[str]) -> None:
        self._path = path
        self._words = pa.array(missing_texts, pa.large_string())
        self.notes: list[str] = []
        with self._open() as file:
            schema = file.schema_arrow
        names = chosen_names(schema.names, left_out)
        # Where all columns are wanted nothing is chosen by name, which also would choose parts of nested ones.
        self._chosen = names if left_out else None
        self.kinds = {name: kind_of(name, schema.field(name).type) for name in names}
        self.missing_texts: Mapping[str, Sequence[str]] = {
            name: missing_texts for name, kind in self.kinds.items() if kind is Kind.TEXT
        }
        unsigned = [name for name in names if schema.field(name).type == pa.uint64()]
        if unsigned:
            self._find_huge(unsigned)

    def _open(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._path, buffer_size=_BUFFER_BYTES, pre_buffer=False)

    def _find_huge(self, names: list[str]) -> None:
        with self._open() as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=names):
                for name in names:
                    if self.kinds[name] is Kind.INTEGER and not fits_int64(batch.column(name)):
                        self.kinds[name] = Kind.NUMBER
                        self.notes.append(
                            f"column '{name}': whole numbers beyond 64 bits, so it is a column of numbers"
                        )

    def batches(self) -> Iterator[Mapping[str, Cells]]:
        with self._open() as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=self._chosen):
                yield {name: self._cells(name, kind, batch) for name, kind in self.kinds.items()}

    def _cells(self, name: str, kind: Kind, batch: pa.RecordBatch) -> Cells:
        cells = cells_of(name, kind, batch.column(name))
        if kind is not Kind.TEXT or not len(self._words):
            return cells
        present = cells.values.filter(pc.invert(pc.is_in(cells.values, self._words)))
        return Cells(present, cells.missing + len(cells.values) - len(present))
