"""Something that is not as it was recorded, and where."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What an audit found."""

    where: str
    """A file, or a record in it."""
    what: str
