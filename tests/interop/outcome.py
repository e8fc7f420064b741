"""What a call is and how it ended, in words that every client's library can be brought to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

UNLIMITED = 1 << 30

# Well above what any call here takes, so that a lost answer fails a test and does not hang it.
TIMEOUT_S = 30.0


class Kind(StrEnum):
    """The kinds of methods that the server has."""

    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    BIDI = "bidi"


@dataclass(frozen=True)
class Asked:
    """A call to make."""

    method: str
    bodies: Sequence[bytes] = (b"",)
    kind: Kind = Kind.UNARY
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    timeout_s: float = TIMEOUT_S
    takes_turns: bool = False
    """Whether each message waits for the answer to the one before."""
    stays_open: bool = False
    """Whether the client does not say that it has sent its last message."""
    cancel_after: int = -1
    """After so many answers the client cancels; never where it is under zero."""
    encoding: str = "identity"


@dataclass(frozen=True)
class Outcome:
    """How a call ended."""

    code: int
    message: str = ""
    bodies: list[bytes] = field(default_factory=list)
    trailing: dict[str, str | bytes] = field(default_factory=dict)


class Client(Protocol):
    """A gRPC library, with one connection to a server."""

    async def call(self, asked: Asked) -> Outcome:
        """Makes the call and waits for its end."""
        ...

    async def close(self) -> None:
        """Ends the connection."""
        ...
