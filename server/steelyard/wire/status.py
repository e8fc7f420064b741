"""The one table of errors to gRPC status codes."""

from enum import IntEnum

from steelyard.errors import (
    Cancelled,
    ConfigError,
    Conflict,
    DeadlineExpired,
    DeviceUnavailable,
    EvidenceError,
    ExecutionFailed,
    InvalidRequest,
    LoadFailed,
    ManifestError,
    ModelNotFound,
    Overloaded,
    RepositoryError,
    SteelyardError,
    TooLarge,
    Unavailable,
    Unsupported,
    VersionNotLoaded,
)


class Status(IntEnum):
    """gRPC's status codes, by the numbers that travel."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


STATUS_OF: dict[type[SteelyardError], Status] = {
    InvalidRequest: Status.INVALID_ARGUMENT,
    ModelNotFound: Status.NOT_FOUND,
    Unavailable: Status.UNAVAILABLE,
    VersionNotLoaded: Status.FAILED_PRECONDITION,
    Conflict: Status.FAILED_PRECONDITION,
    EvidenceError: Status.INTERNAL,
    Unsupported: Status.UNIMPLEMENTED,
    Overloaded: Status.RESOURCE_EXHAUSTED,
    DeadlineExpired: Status.DEADLINE_EXCEEDED,
    Cancelled: Status.CANCELLED,
    ExecutionFailed: Status.INTERNAL,
    TooLarge: Status.RESOURCE_EXHAUSTED,
    ManifestError: Status.FAILED_PRECONDITION,
    RepositoryError: Status.FAILED_PRECONDITION,
    LoadFailed: Status.FAILED_PRECONDITION,
    DeviceUnavailable: Status.FAILED_PRECONDITION,
    ConfigError: Status.FAILED_PRECONDITION,
}

# When a shed call may come again, in milliseconds; gRPC's own retries obey it.
PUSHBACK = "grpc-retry-pushback-ms"

# In the parameters of a stream's error message, which has no status and no metadata of its own.
STREAM_STATUS = "steelyard_status"
STREAM_RETRY_AFTER_MS = "steelyard_retry_after_ms"
STREAM_DECISION_ID = "steelyard_decision_id"

# A status message travels in a header block: a longer one is cut, so that no client's limit on headers (8 KiB is
# the usual one) turns a clear error into an unclear one. Percent-encoding can triple what is not ASCII.
MAX_MESSAGE_CHARACTERS = 2000


def status_of(error: SteelyardError) -> Status:
    """The code that `error` travels as."""
    return STATUS_OF.get(type(error), Status.UNKNOWN)


def message_of(error: SteelyardError) -> str:
    """The text that `error` travels with."""
    text = str(error)
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else f"{text[: MAX_MESSAGE_CHARACTERS - 3]}..."


def stream_parameters_of(error: SteelyardError, decision_id: str) -> dict[str, str | int]:
    """What a unary call's status and trailing metadata say of `error`, as parameters of a response."""
    parameters: dict[str, str | int] = {
        STREAM_DECISION_ID: decision_id,
        STREAM_STATUS: int(status_of(error)),
    }
    if isinstance(error, Overloaded):
        parameters[STREAM_RETRY_AFTER_MS] = error.retry_after_ms
    return parameters


def trailing_of(error: SteelyardError) -> tuple[tuple[str, str], ...]:
    """The trailing metadata that an error brings by itself."""
    if isinstance(error, Overloaded):
        return ((PUSHBACK, str(error.retry_after_ms)),)
    return ()
