"""A compiled plan: from a request's columns to the rows of the model's tensors."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard._native import tabular as native
from steelyard.errors import ManifestError
from steelyard.pipelines.problems import Problem, shown
from steelyard.pipelines.tabular.categories import Profile
from steelyard.pipelines.tabular.columns import Columns, Kind
from steelyard.pipelines.tabular.compile import compile_step
from steelyard.pipelines.tabular.declaration import FeatureTable, TabularTable, TensorTable
from steelyard.pipelines.tabular.operations import OUTPUT_TYPES, Chain, Rule, State
from steelyard.pipelines.tabular.track import Context, Track, state_of
from steelyard.toml import did_you_mean

_BROKEN = {
    Rule.UNKNOWN_CATEGORY: ("unknown_category", "a known category"),
    Rule.MISSING_VALUE: ("missing", "a value"),
}


class TensorPlan:
    """How one tensor of the model's is made, [rows, width]; any number of threads may run it."""

    def __init__(self, table: TensorTable, tracks: list[Track], columns: list[str], program: Any) -> None:
        self.table = table
        """As it was declared."""
        self.name = table.name
        self.datatype = table.datatype
        self.dtype = np.dtype(OUTPUT_TYPES[table.datatype])
        self.feature_names = tuple(name for track in tracks for name in track.names)
        """One for each output column."""
        self.width = len(self.feature_names)
        self._columns = columns
        self._chain_columns = [track.column for track in tracks]
        self._program = program

    def run(
        self, columns: Columns, out: NDArray[Any], start: int = 0, rows: int | None = None
    ) -> list[Problem]:
        """Writes `rows` rows from `start` on (all, where not given) into `out`.

        out: C-contiguous, of the tensor's dtype, at least [rows, width] elements; a slice of the batch. Returns the
        rows whose category is unknown or value missing where a step refuses that; they have zeros or NaN there.
        """
        if out.dtype != self.dtype:
            raise ValueError(f"expected a buffer of {self.dtype}, came {out.dtype}")
        count = columns.rows - start if rows is None else rows
        return self._problems(columns, start, self._program.run(columns.sources, start, count, out))

    def find_problems(self, columns: Columns) -> list[Problem]:
        """What `run` would return, without output: before a request's rows are put into a batch."""
        return self._problems(columns, 0, self._program.run(columns.sources, 0, columns.rows, None))

    def _problems(self, columns: Columns, start: int, breaches: list[tuple[int, int, int]]) -> list[Problem]:
        problems = []
        for row, chain, broken in breaches:
            name = self._chain_columns[chain]
            value = columns.by_name[name].value(start + row)
            rule, expected = _BROKEN[Rule(broken)]
            problems.append(
                Problem(start + row, name, rule, expected, "null" if value is None else shown(value))
            )
        return problems


class TabularPlan:
    """How each tensor of the model's is made of the columns."""

    def __init__(self, table: TabularTable, tensors: Mapping[str, TensorPlan]) -> None:
        self.table = table
        self.tensors = tensors

    def find_problems(self, columns: Columns) -> list[Problem]:
        """What steps of any tensor refuse, each row and column once for a rule."""
        found = [problem for tensor in self.tensors.values() for problem in tensor.find_problems(columns)]
        return list(dict.fromkeys(found))

    def run(self, columns: Columns, out: NDArray[Any]) -> list[Problem]:
        """The only tensor's `run`, of all rows. Raises ValueError where there are several."""
        (tensor,) = self.tensors.values()
        return tensor.run(columns, out)


def compile_plan(
    declaration: TabularTable,
    profile: Profile | None = None,
    *,
    directory: Path | None = None,
    program: Callable[[list[Chain], int, int, str], Any] = native.Program,
    vocabulary: Callable[[list[bytes], list[int]], Any] = native.Vocabulary,
) -> TabularPlan:
    """The plan that a manifest declares.

    profile: for each column what steps may take from it: mean, std, min, max, median, mode, categories.
    directory: where files of categories are. program and vocabulary: the native ones, or their twins together.
    Raises ManifestError that names tensor, feature and step.
    """
    context = Context(profile or {}, directory, vocabulary)
    kinds = {column.name: column.column_kind for column in declaration.column}
    order = {name: position for position, name in enumerate(kinds)}
    tensors = {}
    for table in declaration.tensor:
        tracks = []
        for number, feature in enumerate(table.feature, 1):
            for column in feature.sources:
                where = f"tensor '{table.name}', feature {number} ('{column}')"
                tracks += _feature(feature, column, kinds, context, where, table.datatype)
        chains, width = _chains(tracks, order, kinds)
        try:
            compiled = program(chains, len(kinds), width, table.datatype)
        except ValueError as exc:
            raise ManifestError(f"tensor '{table.name}': {exc}") from exc
        tensors[table.name] = TensorPlan(table, tracks, list(kinds), compiled)
    return TabularPlan(declaration, tensors)


def _feature(
    feature: FeatureTable, column: str, kinds: Mapping[str, Kind], context: Context, where: str, datatype: str
) -> list[Track]:
    if column not in kinds:
        raise ManifestError(f"{where}: unknown column '{column}'{did_you_mean(column, kinds)}")
    kind = kinds[column]
    tracks = [Track(column, column, kind, state_of(kind))]
    for number, step in enumerate(feature.steps, 1):
        try:
            tracks = [after for track in tracks for after in compile_step(step, track, context)]
        except ManifestError as exc:
            raise ManifestError(f"{where}, step {number} ({step.step}): {exc}") from exc
    for track in tracks:
        if track.state is State.TEXT:
            raise ManifestError(f"{where}: ends in text; expected a step that makes numbers of it")
        if datatype == "INT64" and not track.one_hot:
            if track.state is not State.INTEGER:
                raise ManifestError(f"{where}: ends in numbers; an INT64 tensor takes whole numbers")
            if track.may_miss:
                raise ManifestError(
                    f"{where}: may be missing, which INT64 cannot hold; expected an impute step"
                )
    return tracks


def _chains(
    tracks: list[Track], order: Mapping[str, int], kinds: Mapping[str, Kind]
) -> tuple[list[Chain], int]:
    """The tracks side by side, and how wide they are together."""
    chains = []
    offset = 0
    for track in tracks:
        state = state_of(kinds[track.column])
        chains.append(Chain(order[track.column], state, track.operations, offset, track.one_hot))
        offset += max(1, track.one_hot)
    return chains, offset
