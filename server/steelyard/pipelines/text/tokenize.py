"""The step `tokenize`: texts to rows of token ids, with their mask and types.

The rows of a request are padded to the longest of them. Requests of different length are padded again where they share
a batch, if a check at load has found that this changes no answer; else they share one where their lengths are equal.
For that, `length_multiple = 16` pads lengths up to 16, 32, 48 and so on (at most `max_length`), with the tokenizer's
padding token and mask 0, at the price of at most 15 columns that the model computes in vain. `fixed = true` gives every
request the same length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.models.ragged import Pad
from steelyard.pipelines.bounds import check_prepared
from steelyard.pipelines.prepared import HEAVY, Preparation, ReadyTensor
from steelyard.pipelines.problems import Problem
from steelyard.pipelines.text.declaration import TokenizeStep
from steelyard.pipelines.text.library import TokenizerError, encode
from steelyard.pipelines.text.texts import Row, read_texts
from steelyard.wire.types import InputTensor

Array = npt.NDArray[Any]

_ITEM_BYTES = 8


@dataclass(frozen=True, slots=True)
class Padding:
    """How rows of different length become one tensor."""

    token: int
    type_id: int
    left: bool
    multiple: int
    fixed: int | None
    """The length of every tensor, where it is always the same."""
    most: int
    """No tensor is longer."""

    def length(self, longest: int) -> int:
        """The columns for rows of which the longest has `longest` tokens: at least one, which a model may expect."""
        if self.fixed is not None:
            return self.fixed
        return min(self.most, -(-max(longest, 1) // self.multiple) * self.multiple)


@dataclass(frozen=True, slots=True)
class TokenizePreparer:
    """Texts to tokens, on the calling thread and mostly without the GIL.

    Threads may share it: nothing here changes, and the tokenizer is not reconfigured after the step was compiled.
    """

    step: TokenizeStep
    source_names: tuple[str, ...]
    paired: bool
    tokenizer: Any
    padding: Padding
    wanted: tuple[tuple[str, str, np.dtype[Any]], ...]
    """For each of the model's inputs its name, what it takes ("ids", "mask" or "types"), and its type."""

    @property
    def sources(self) -> Sequence[str]:
        return self.source_names

    @property
    def targets(self) -> Sequence[str]:
        return tuple(name for name, _, _ in self.wanted)

    @property
    def optional(self) -> Sequence[str]:
        return ()

    @property
    def pads(self) -> dict[str, Pad]:
        """What the model's inputs are padded with, by their names; empty where all rows have one length."""
        values = {"ids": self.padding.token, "mask": 0, "types": self.padding.type_id}
        if self.padding.fixed is not None:
            return {}
        return {name: Pad(values[what], self.padding.left) for name, what, _ in self.wanted}

    def looks_at(self, size: int, rows: int) -> int:
        return HEAVY

    def prepare(self, tensors: Sequence[InputTensor], rows: int) -> Preparation:
        """Tokenizes the texts of one request; tensors of [rows, length] for each of the model's inputs.

        Problems of a row: "utf8", "size" (more bytes than `max_text`), "length" (more tokens than `max_length`, and the
        step does not cut, or cannot cut the text that it may), "text" (the tokenizer has no tokens for it). Such a row
        is prepared as an empty text.
        """
        texts = read_texts(
            tensors, self.source_names, rows, self.paired, self.step.max_text, self.step.max_request
        )
        encodings, problems = self._encode(texts.rows)
        lengths = np.array([len(encoding) for encoding in encodings], np.intp)
        length = self.padding.length(int(lengths.max(initial=0)))
        check_prepared(self.source_names[0], (rows, length), _ITEM_BYTES)
        places = np.arange(length)
        real = (places[::-1] if self.padding.left else places) < lengths[:, np.newaxis]
        made = tuple(
            ReadyTensor(self._tensor(what, dtype, encodings, real)) for _, what, dtype in self.wanted
        )
        return Preparation(made, (*texts.problems, *problems))

    def _tensor(
        self, what: str, dtype: np.dtype[Any], encodings: list[Any], real: npt.NDArray[np.bool_]
    ) -> Array:
        if what == "mask":
            return real.astype(dtype)
        pad, attribute = (self.padding.token, "ids") if what == "ids" else (self.padding.type_id, "type_ids")
        tensor = np.full(real.shape, pad, dtype)
        # Row by row, and in a row from left to right: the order in which a mask assigns.
        tensor[real] = [token for encoding in encodings for token in getattr(encoding, attribute)]
        return tensor

    def _encode(self, texts: list[Row]) -> tuple[list[Any], list[Problem]]:
        """One encoding for each text, that of an empty one where it has too many tokens."""
        problems = []
        try:
            encodings = self._encoded(texts)
        except TokenizerError:
            encodings = []
            for row, text in enumerate(texts):
                try:
                    encodings += self._encoded([text])
                except TokenizerError as exc:
                    encodings += self._encoded([self._nothing])
                    problems.append(self._refused(row, str(exc)[:200]))
        for row, encoding in enumerate(encodings):
            if len(encoding) > self.padding.most:
                problems.append(self._too_long(row, f"{len(encoding)} tokens"))
                (encodings[row],) = self._encoded([self._nothing])
        return encodings, problems

    def _encoded(self, texts: list[Row]) -> list[Any]:
        return encode(self.tokenizer, texts, self.step.special_tokens)

    @property
    def _nothing(self) -> Row:
        return ("", "") if self.paired else ""

    def _refused(self, row: int, came: str) -> Problem:
        if came.startswith("Truncation error"):
            return self._too_long(row, came)
        return Problem(row, self.source_names[0], "text", "a text that the tokenizer takes", came)

    def _too_long(self, row: int, came: str) -> Problem:
        return Problem(row, self.source_names[0], "length", f"at most {self.padding.most} tokens", came)
