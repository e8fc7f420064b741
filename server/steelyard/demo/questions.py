"""What the demonstration asks: files, each with its row of features."""

from collections.abc import Iterable
from dataclasses import dataclass

from steelyard.demo.corpus import FoundFile
from steelyard.demo.features import FeatureSpec, Row, extract


@dataclass(frozen=True, slots=True)
class Question:
    """One file and its row."""

    file: FoundFile
    row: Row


@dataclass(frozen=True, slots=True)
class Questions:
    """Files that the model can be asked about."""

    asked: tuple[Question, ...]
    too_small: int
    """How many were passed over because they hold too little for the model."""


def choose(files: Iterable[FoundFile], spec: FeatureSpec, wanted: int) -> Questions:
    """The first `wanted` files of `files` that are for the model; fewer where there are fewer."""
    asked: list[Question] = []
    too_small = 0
    for file in files:
        row = extract(spec, file.content)
        if row is None:
            too_small += 1
            continue
        asked.append(Question(file, row))
        if len(asked) == wanted:
            break
    return Questions(tuple(asked), too_small)
