"""What a shadow runs: one face for a candidate in this process and for one on another server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from steelyard.rollout.frames import Asked


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request with the candidate: an answer, an error, or nothing that says anything of it."""

    answer: bytes = b""
    """The serialized ModelInferResponse; empty where there is none."""
    error: str = ""
    status: int = 0
    """gRPC's status code; 0 for an answer."""
    unmet: str = ""
    """Why there is neither: "down", the candidate could not be reached; "overloaded", it had no room."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A unit, run."""

    outcomes: Sequence[Outcome]
    """One for each request, in order."""
    execute_ns: int = 0
    """What the run took; 0 where the requests did not run in one piece, or it is not known."""
    rows: int = 0
    """Of that run."""


class Candidate(Protocol):
    """A version to be compared with the primary."""

    @property
    def digest(self) -> str:
        """Its content digest, "sha256:..."; empty while it is not known, or where the server does not say."""
        ...

    def run(self, asked: Sequence[Asked], rows: int = 0) -> Ran:
        """Runs requests of one batch, which had `rows` rows, together as far as they fit each other.

        Raises nothing: errors are outcomes.
        """
        ...

    def close(self) -> None:
        """Lets go of what it holds."""
        ...
