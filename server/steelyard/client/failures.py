"""A gRPC status as one of the project's errors: the way back through the table of status codes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from steelyard.errors import (
    Cancelled,
    DeadlineExpired,
    ExecutionFailed,
    InvalidRequest,
    LoadFailed,
    ModelNotFound,
    Overloaded,
    SteelyardError,
    TooLarge,
    Unavailable,
    Unsupported,
)
from steelyard.wire.status import PUSHBACK, Status

DECISION_ID = "steelyard-decision-id"
# What a server says by a pushback that is negative or no number: do not ask again.
NEVER_MS = -1

_ERRORS: dict[int, Callable[[str], SteelyardError]] = {
    Status.CANCELLED: Cancelled,
    Status.INVALID_ARGUMENT: InvalidRequest,
    Status.DEADLINE_EXCEEDED: DeadlineExpired,
    Status.NOT_FOUND: ModelNotFound,
    Status.FAILED_PRECONDITION: LoadFailed,
    Status.UNIMPLEMENTED: Unsupported,
    Status.INTERNAL: ExecutionFailed,
    Status.UNAVAILABLE: Unavailable,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call ended that did not end well."""

    code: int
    message: str
    pushback_ms: int | None
    """When the server says that asking again can pay; NEVER_MS: never; None: it did not say."""
    decision_id: str | None
    """The server's own name for the request, where it had one."""


class CallFailed(Exception):
    """A call ended with another status than OK."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def failure_of_status(code: int, message: str, trailing: Iterable[tuple[str, str | bytes]]) -> Failure:
    """What a call's status and trailing metadata say."""
    said = dict(trailing)
    decision_id = said.get(DECISION_ID)
    return Failure(
        code=code,
        message=message,
        pushback_ms=_pushback_ms(said.get(PUSHBACK)),
        decision_id=decision_id if isinstance(decision_id, str) else None,
    )


def error_of(failure: Failure, address: str) -> SteelyardError:
    """The error to raise, with the server's name for the request as its attribute `decision_id` (or None).

    RESOURCE_EXHAUSTED with a pushback is Overloaded; without one, it is how gRPC refuses a message by its
    size: TooLarge. A code that the table does not have is a plain SteelyardError.
    """
    message = failure.message
    error: SteelyardError
    if failure.code == Status.RESOURCE_EXHAUSTED:
        pushback_ms = failure.pushback_ms
        error = TooLarge(message) if pushback_ms is None else Overloaded(message, pushback_ms)
    elif failure.code == Status.UNAVAILABLE and failure.decision_id is None:
        error = Unavailable(f"server at {address}: {message}")
    else:
        error = _ERRORS.get(failure.code, SteelyardError)(message)
    error.decision_id = failure.decision_id
    return error


def _pushback_ms(value: str | bytes | None) -> int | None:
    if value is None:
        return None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else NEVER_MS
