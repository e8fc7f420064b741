"""The one tree of errors: each says what was expected and what came, and knows nothing of gRPC."""


class SteelyardError(Exception):
    """Root of every error that is the caller's or the owner's to read.

    `decision_id` is set on errors that a server sent, where it sent one.
    """

    decision_id: str | None = None


class InvalidRequest(SteelyardError):
    """The request is malformed or does not fit the model."""


class ModelNotFound(SteelyardError):
    """No such model, or no such version of it."""


class Unavailable(SteelyardError):
    """The model is known but not loaded, or the server is stopping."""


class VersionNotLoaded(SteelyardError):
    """A version was asked for by number, label or digest, and is known but not served."""


class Conflict(SteelyardError):
    """A change cannot be made as things stand: another is under way, or they are not as the caller thought."""


class Unsupported(SteelyardError):
    """The protocol knows this, the server does not do it."""


class Overloaded(SteelyardError):
    """Shed: a queue bound was met. `retry_after_ms` is when asking again can pay."""

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class DeadlineExpired(SteelyardError):
    """The caller's deadline or the request's `timeout` passed before an answer was there."""


class Cancelled(SteelyardError):
    """The caller went away."""


class ExecutionFailed(SteelyardError):
    """The model failed on this request's rows."""


class TooLarge(SteelyardError):
    """A message is over the configured limit."""


class ManifestError(SteelyardError):
    """A manifest is wrong, or contradicts the graph."""


class RepositoryError(SteelyardError):
    """The repository cannot be read, or holds what may not be there."""


class LoadFailed(SteelyardError):
    """A version could not be made ready."""


class ConfigError(SteelyardError):
    """A setting is wrong, unknown, or contradicts another."""


class DataError(SteelyardError):
    """A file of data cannot be read, or holds what no request could."""


class EvidenceError(SteelyardError):
    """What was recorded cannot be read, has been damaged, or cannot be written."""


class DeviceUnavailable(SteelyardError):
    """The device asked for is not there, or what drives it is not installed."""
