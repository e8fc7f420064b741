"""A tensor in the place of a caller's own."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GivenTensor:
    """A tensor with values put in, with rows left out, or made up where the caller left it out."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview
    parameters: dict[str, bool | int | str | float]
