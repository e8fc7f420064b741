"""The table of RPCs: which there are, of which kind, and who handles them. Every front serves this table."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol


class Context(Protocol):
    """What a handler other than ModelInfer's knows of its call."""

    peer: str
    peer_uid: int | None
    """Who runs the process at the other end of a Unix socket, as the kernel says; None where nobody can say."""
    deadline_ns: int
    """Monotonic nanoseconds; 0 where the caller set none."""

    # What a handler of streams keeps is counted with what the front does. An answer that it gives is the front's from
    # then on, and so is what was set aside for it.

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more of answers may be kept for the caller."""

    def no_room(self, size: int) -> str:
        """What is said of an answer of so many bytes for which there is no room."""

    def set_aside(self, count: int) -> None:
        """So many bytes of answers are kept for the caller, or no longer where `count` is under zero."""

    def keep(self, count: int) -> None:
        """So many bytes of a request are kept until the caller has taken answers, or no longer where `count` is under
        zero. Raises TooLarge where there is no room."""


Unary = Callable[[bytes, Context], Awaitable[bytes]]
ServerStream = Callable[[bytes, Context], AsyncIterator[bytes]]
BidiStream = Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]


@dataclass(slots=True)
class Methods:
    """Handlers by full method name, such as "/inference.GRPCInferenceService/ServerLive".

    `infer` names the method whose calls go to `Engine.submit`, the only one that is not a coroutine.
    Handlers end a call with an error by raising a `SteelyardError`.
    """

    infer: str = "/inference.GRPCInferenceService/ModelInfer"
    unary: dict[str, Unary] = field(default_factory=dict)
    server_stream: dict[str, ServerStream] = field(default_factory=dict)
    bidi_stream: dict[str, BidiStream] = field(default_factory=dict)

    def services(self) -> list[str]:
        """The names of all services that have a method here, sorted."""
        names = (self.infer, *self.unary, *self.server_stream, *self.bidi_stream)
        return sorted({name.split("/")[1] for name in names})
