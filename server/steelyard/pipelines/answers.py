"""What callers hear of rows that break their contract: the status and outputs of each row, an answer's parameters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import ExecutionFailed
from steelyard.models.bfloat16 import NAN
from steelyard.models.spec import DYNAMIC, TensorSpec
from steelyard.pipelines.problems import MAX_ROWS_NAMED, Problem, by_row

Array = npt.NDArray[Any]

ROW_STATUS = TensorSpec("row_status", "BYTES", (DYNAMIC,))
"""An output of every version that marks rows: empty for a row that was answered, else why it was not."""

MAX_STATUS_CHARS = 1024


def spread(array: Array, datatype: str, keep: Sequence[int], rows: int) -> Array:
    """An output of the rows `keep` as that of all `rows`: the others have NaN, nought, false or an empty text."""
    if array.shape[:1] != (len(keep),):
        raise ExecutionFailed(
            f"an output has shape {list(array.shape)} for {len(keep)} rows, the others being marked"
        )
    shape = (rows, *array.shape[1:])
    if array.dtype == object:
        whole = np.full(shape, b"", object)
    elif datatype == "BF16":
        whole = np.full(shape, NAN, array.dtype)
    elif array.dtype.kind == "f":
        whole = np.full(shape, np.nan, array.dtype)
    else:
        whole = np.zeros(shape, array.dtype)
    whole[list(keep)] = array
    return whole


def row_status(problems: Sequence[Problem], rows: int) -> Array:
    """`row_status` of a request of `rows` rows, of which those with problems are marked."""
    status = np.full(rows, b"", object)
    for row, found in by_row(problems).items():
        text = "; ".join(_why(problem) for problem in found)
        status[row] = (
            text if len(text) <= MAX_STATUS_CHARS else text[: MAX_STATUS_CHARS - 3] + "..."
        ).encode()
    return status


def _why(problem: Problem) -> str:
    column = f"column '{problem.column}': " if problem.column else ""
    return f"{problem.rule}: {column}expected {problem.expected}, came {problem.value}"


def parameters(marked: Sequence[Problem], flagged: Sequence[Problem]) -> dict[str, bool | int | str | float]:
    """What the parameters of an answer say of marked and flagged rows; nothing where there are none."""
    said: dict[str, bool | int | str | float] = {}
    if marked:
        said["steelyard_rows_marked"] = len(by_row(marked))
    if flagged:
        rows = by_row(flagged)
        named = list(rows.values())[:MAX_ROWS_NAMED]
        more = f"; and {len(rows) - len(named)} rows more" if len(rows) > len(named) else ""
        lines = [f"{problem} (rule '{problem.rule}')" for row in named for problem in row[:4]]
        said["steelyard_rows_flagged"] = len(rows)
        said["steelyard_flags"] = "; ".join(lines) + more
    return said
