"""Text that a model reads time by time, where one class stands for nothing (CTC): the best path.

Graves, Fernández, Gomez, Schmidhuber, "Connectionist Temporal Classification" (2006), section 3.2.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.pipelines.outputs.scores import Indexes, best_index

Array = npt.NDArray[Any]


def best_path(scores: Array, blank: int) -> tuple[Indexes, npt.NDArray[np.bool_]]:
    """The best class at each time of [rows, times, classes], and whether it is read: each of shape [rows, times].

    What is blank is not read, nor what is the same as a time before. NaN is never the best, and the first of equal
    ones is. There is at least one class.
    """
    best = best_index(scores)
    kept = best != blank
    kept[:, 1:] &= best[:, 1:] != best[:, :-1]
    return best, kept


def mean_of_kept(scores: Array, best: Indexes, kept: npt.NDArray[np.bool_]) -> Array:
    """The mean of the best scores where `kept`, 0 where nothing is: [rows], in the type of `scores`.

    best, kept: as `best_path` gives them. FP16 is computed as FP32.
    """
    own = np.take_along_axis(scores, best[..., np.newaxis], axis=-1)[..., 0]
    wide = own.astype(np.float32) if own.dtype == np.float16 else own
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.where(kept, wide, wide.dtype.type(0)).sum(axis=1)
        means: Array = (sums / np.maximum(kept.sum(axis=1), 1).astype(wide.dtype)).astype(scores.dtype)
    return means
