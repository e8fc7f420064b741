"""How calls on our own layer end, as the failures that both clients raise, and their answers in plain form."""

from steelyard.client.failures import NEVER_MS, CallFailed, Failure, failure_of_status
from steelyard.rpc import codes
from steelyard.rpc.client_calls import ClientCall
from steelyard.rpc.compression import TooMuch, inflate
from steelyard.rpc.framing import FramingError
from steelyard.wire.status import Status


def failed(call: ClientCall) -> CallFailed:
    """The failure of a call that ended with another status than OK."""
    try:
        trailing = call.trailing_metadata()
    except ValueError:
        # The status is what counts; metadata that cannot be read says nothing.
        trailing = ()
    return CallFailed(failure_of_status(call.code, call.message or _name(call.code), trailing))


def unavailable(message: str) -> CallFailed:
    """The failure of a call for which there is no connection."""
    return CallFailed(Failure(codes.UNAVAILABLE, message, None, None))


def expired() -> CallFailed:
    """The failure of a call whose deadline passed here."""
    return CallFailed(
        Failure(codes.DEADLINE_EXCEEDED, "the deadline passed before the answer was there", None, None)
    )


def cancelled() -> CallFailed:
    """The failure of a call that its client's end has ended."""
    return CallFailed(Failure(codes.CANCELLED, "the client was closed", None, None))


def overfull(waiting: int) -> CallFailed:
    """The failure of a call that finds as many waiting as may."""
    message = f"{waiting} calls of this client wait already for the server to take them"
    return CallFailed(Failure(codes.RESOURCE_EXHAUSTED, message, NEVER_MS, None))


def refused(error: FramingError) -> CallFailed:
    """The failure of a call that is refused here, before it was sent."""
    return CallFailed(Failure(error.code, str(error), None, None))


def plain(encoding: bytes, body: bytes, max_bytes: int) -> bytes:
    """What a compressed message holds. Raises CallFailed where it is damaged, or more than `max_bytes`."""
    try:
        return inflate(encoding, body, max_bytes)
    except TooMuch:
        message = f"the answer has more than {max_bytes} bytes when it is inflated (max_message_bytes)"
        raise CallFailed(Failure(codes.RESOURCE_EXHAUSTED, message, None, None)) from None
    except ValueError as error:
        raise CallFailed(Failure(codes.INTERNAL, str(error), None, None)) from None


def _name(code: int) -> str:
    known = set(Status)
    return Status(code).name if code in known else f"status {code}"
