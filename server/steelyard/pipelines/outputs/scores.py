"""Scores of classes along the last axis, for a whole batch: softmax, sigmoid, the best ones.

NaN comes after every number, and equal ones are ordered by their index.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Indexes = npt.NDArray[np.int64]


def softmax(scores: Array) -> Array:
    """exp(x) / Σ exp(x) over the last axis, in the type of `scores`; FP16 is computed as FP32.

    A row with NaN is NaN throughout. Infinities share the whole among themselves, and a row of nothing but -inf is
    uniform: the limits of equal scores that grow.
    """
    wide = _wide(scores)
    if wide.shape[-1] == 0:
        return scores.copy()
    best = wide.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        shifted = wide - best
        if not np.isfinite(best).all():
            shifted[wide == best] = 0
        np.exp(shifted, out=shifted)
        shifted /= shifted.sum(axis=-1, keepdims=True)
    return _narrow(shifted, scores)


def sigmoid(scores: Array) -> Array:
    """1 / (1 + exp(-x)), in the type of `scores`; FP16 is computed as FP32."""
    with np.errstate(over="ignore", under="ignore"):
        return _narrow(1 / (1 + np.exp(-_wide(scores))), scores)


def best_index(scores: Array) -> Indexes:
    """Where the best along the last axis stands, shape [...]; 0 where all are NaN. The last axis is not empty."""
    if scores.dtype.kind == "f":
        # NumPy's own argmax takes the first NaN for the largest.
        missing = np.isnan(scores)
        if missing.any():
            real = ~missing
            filled = np.where(missing, -np.inf, scores)
            # A row may hold -inf beside NaN: the first that equals the largest and is no NaN.
            largest = filled.max(axis=-1, keepdims=True)
            return np.asarray(np.argmax((filled == largest) & real, axis=-1), np.int64)
    return np.asarray(np.argmax(scores, axis=-1), np.int64)


def best_indexes(scores: Array, k: int) -> Indexes:
    """Where the best `k` along the last axis stand, best first: shape [..., k]; k is at most the last axis' length."""
    classes = scores.shape[-1]
    rows = scores.reshape(-1, classes)
    if k == 1:
        return best_index(rows).reshape(*scores.shape[:-1], 1)
    # Ascending is NumPy's order, with NaN at its end; ~x reverses integers without overflow.
    falling = ~rows if rows.dtype.kind in "iub" else -rows
    if 2 * k >= classes:
        order = np.argsort(falling, axis=-1, kind="stable")[:, :k]
    else:
        chosen = _first_k(falling, k)
        inner = np.argsort(np.take_along_axis(falling, chosen, axis=-1), axis=-1, kind="stable")
        order = np.take_along_axis(chosen, inner, axis=-1)
    return order.reshape(*scores.shape[:-1], k)


def _first_k(falling: Array, k: int) -> Indexes:
    """The columns of the `k` smallest of each row, in the order of the columns; of equal ones the first."""
    last = np.partition(falling, k - 1, axis=-1)[:, k - 1 : k]
    before = falling < last
    equal = falling == last
    if falling.dtype.kind == "f" and np.isnan(last).any():
        missing = np.isnan(falling)
        ends_in_nan = np.isnan(last)
        before |= ends_in_nan & ~missing
        equal |= ends_in_nan & missing
    room = k - before.sum(axis=-1, keepdims=True)
    before |= equal & (np.cumsum(equal, axis=-1) <= room)
    return np.nonzero(before)[1].reshape(-1, k)


def _narrow(made: Array, like: Array) -> Array:
    return made.astype(like.dtype, copy=False)


def _wide(scores: Array) -> Array:
    return scores.astype(np.float32) if scores.dtype == np.float16 else scores
