"""Vectors along the last axis, for a whole batch: pooled over tokens, and of length one.

Every row is summed for itself and in the order of its tokens, so what a row is answered does not hang on its batch.
Nothing here goes through BLAS, whose threads would compete with the model's.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# What a norm is taken for at least, as PyTorch's `normalize` has it: a vector of zeros stays one.
SMALLEST_NORM = 1e-12


def mean_of_tokens(vectors: Array, mask: Array | None) -> Array:
    """The mean over axis 1 of [rows, tokens, width], of tokens whose mask is not 0: [rows, width].

    mask: [rows, tokens], any number type, or None where all count. A row without a token is zeros.
    """
    wide = _wide(vectors)
    counts = np.ones(vectors.shape[:2], wide.dtype) if mask is None else (mask != 0).astype(wide.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        if wide.shape[2] == 1:
            # Of one column NumPy sums tokens in groups, which depend on how many there are: padding would change bits.
            wide = np.repeat(wide, 2, axis=2)
        sums = np.einsum("rt,rtw->rw", counts, wide)[:, : vectors.shape[2]]
        sums /= np.maximum(counts.sum(axis=1, keepdims=True), 1)
        return _narrow(sums, vectors)


def largest_of_tokens(vectors: Array, mask: Array | None) -> Array:
    """The largest over axis 1 of [rows, tokens, width], each column for itself; as `mean_of_tokens`. NaN is largest."""
    if mask is None:
        if vectors.shape[1] == 0:
            return np.zeros(vectors.shape[::2], vectors.dtype)
        everywhere: Array = vectors.max(axis=1)
        return everywhere
    counts = (mask != 0)[:, :, np.newaxis]
    largest: Array = np.max(vectors, axis=1, initial=-np.inf, where=counts)
    largest[~counts.any(axis=1)[:, 0]] = 0
    return largest


def first_token(vectors: Array) -> Array:
    """The vectors of the first token, where models put their token for the whole text: [rows, width]."""
    return np.ascontiguousarray(vectors[:, 0])


def unit_length(vectors: Array) -> Array:
    """Each vector along the last axis by its Euclidean norm, in the type of `vectors`; FP16 is computed as FP32."""
    wide = _wide(vectors)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        norms = np.sqrt(np.einsum("...w,...w->...", wide, wide))[..., np.newaxis]
        return _narrow(wide / np.maximum(norms, SMALLEST_NORM), vectors)


def _narrow(made: Array, like: Array) -> Array:
    return made.astype(like.dtype, copy=False)


def _wide(vectors: Array) -> Array:
    return vectors.astype(np.float32) if vectors.dtype == np.float16 else vectors
