"""The texts of a request: checked, decoded, and each that is none replaced by an empty one beside a problem."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from steelyard.errors import InvalidRequest
from steelyard.pipelines.elements import request_elements
from steelyard.pipelines.problems import Problem
from steelyard.pipelines.text.declaration import ROW_TEXT_BYTES
from steelyard.wire.types import InputTensor

Row = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Texts:
    """One text or pair for each row."""

    rows: list[Row]
    problems: list[Problem] = field(default_factory=list)


def read_texts(
    tensors: Sequence[InputTensor],
    names: Sequence[str],
    rows: int,
    paired: bool,
    max_text: int,
    max_request: int,
) -> Texts:
    """The texts of one BYTES tensor, [rows] or [rows, 2], or of two; where `paired`, two a row.

    A row with more than `max_text` bytes is a problem ("size"), and so is one that is not UTF-8 ("utf8"). Raises
    InvalidRequest where all other texts together have more than `max_request` bytes.
    """
    each = 2 if paired and len(tensors) == 1 else 1
    columns = []
    for tensor, name in zip(tensors, names, strict=True):
        views = request_elements(name, tensor.data, rows * each)
        columns += [(name, views[first::each]) for first in range(each)]
    sizes = [sum(map(len, texts)) for texts in zip(*(views for _, views in columns), strict=True)]
    # What is too long is not tokenized, and costs no more than an empty text.
    total = sum(max(size, ROW_TEXT_BYTES) if size <= max_text else ROW_TEXT_BYTES for size in sizes)
    if total > max_request:
        raise InvalidRequest(
            f"input '{names[0]}': expected at most {max_request} bytes of text in a request, each row at least "
            f"{ROW_TEXT_BYTES}, got {total}"
        )
    problems: list[Problem] = []
    texts: list[list[str]] = [[] for _ in columns]
    for row, size in enumerate(sizes):
        if size > max_text:
            problems.append(
                Problem(row, names[0], "size", f"at most {max_text} bytes of text", f"{size} bytes")
            )
        for (name, views), decoded in zip(columns, texts, strict=True):
            text = ""
            if size <= max_text:
                try:
                    text = str(views[row], "utf-8")
                except UnicodeDecodeError as exc:
                    came = f"byte 0x{views[row][exc.start]:02x} at offset {exc.start}"
                    problems.append(Problem(row, name, "utf8", "UTF-8", came))
            decoded.append(text)
    return Texts(list(zip(*texts, strict=True)) if paired else [*texts[0]], problems)
