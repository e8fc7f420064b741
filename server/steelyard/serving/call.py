"""What a handler knows of a call, whichever front brought it."""

from collections.abc import Sequence
from typing import Any, Protocol

from steelyard.errors import SteelyardError

Metadata = tuple[tuple[str, str], ...]

DECISION_ID = "steelyard-decision-id"
MODEL_VERSION = "steelyard-model-version"
MODEL_DIGEST = "steelyard-model-digest"
# Where a version is about to go out of service: until when it answers, and what to ask instead.
RETIRES = "steelyard-retires"
REPLACEMENT = "steelyard-replacement"


class Call(Protocol):
    """One ModelInfer call.

    The front sets `peer`, `deadline_ns` and `cancelled`; the engine keeps in `place` where the call stands, to find it
    when it is cancelled. Exactly one of `answer` and `fail` is called, on the event loop, and neither after the front
    has told the engine that the call is gone.
    """

    deadline_ns: int
    """Monotonic nanoseconds; 0 where the caller set none."""
    cancelled: bool
    place: Any
    arm: Any
    """The arm of a canary that the call belongs to, else None; set by the engine."""
    decision_id: str
    """Where it had to be known before the call ran, else empty; set by the engine."""

    @property
    def peer(self) -> str:
        """Who calls: an address, or whatever the front knows of the connection."""
        ...

    @property
    def traceparent(self) -> bytes:
        """Of W3C Trace Context, as the caller wrote it; empty where it did not."""
        ...

    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What the caller sent beside the message."""
        ...

    def answer(self, body: bytes, decision_id: str, trailing: Metadata) -> str | None:
        """Ends the call with a ModelInferResponse; `trailing` is what the version says with each. Returns what the
        caller was told in its place, where there was no room for the answer."""
        ...

    def fail(self, error: SteelyardError, decision_id: str, trailing: Metadata) -> None:
        """Ends the call with an error; `trailing` is empty where no version was found."""
        ...
