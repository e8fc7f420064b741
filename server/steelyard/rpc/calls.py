"""Methods and calls as the server's side of a connection knows them."""

from enum import IntEnum
from typing import Any, NamedTuple

from steelyard.rpc.head import Head
from steelyard.rpc.metadata import Header, decode_metadata
from steelyard.rpc.states import ServerState
from steelyard.rpc.unframing import Unframer


class Method(NamedTuple):
    """A method that is served, and what the front wants to find in its calls."""

    name: str
    streams_requests: bool
    streams_answers: bool
    handler: Any


class Happening(IntEnum):
    """What a connection tells of a call."""

    REQUEST = 0
    """A call came with its one message. The call's method takes no more."""
    OPENED = 1
    """A call whose requests come one after the other has begun."""
    MESSAGE = 2
    """One of those."""
    ENDED = 3
    """The last of them has come."""
    GONE = 4
    """A call of which the front was told is no more: the peer or the connection ended it. Nothing can be sent on it."""


Event = tuple[Happening, "ServerCall", bytes, bool]
"""What happened to which call; for REQUEST and MESSAGE the body and whether it is compressed."""


class ServerCall:
    """One call at the server. `owner` is the front's."""

    __slots__ = (
        "_fields",
        "accepts",
        "body",
        "compressed",
        "encoding",
        "held",
        "method",
        "owner",
        "paused",
        "state",
        "stream_id",
        "timeout_ns",
        "touched",
        "unframer",
    )

    def __init__(
        self, stream_id: int, method: Method, head: Head, fields: tuple[Header, ...], touched: int
    ) -> None:
        self.stream_id = stream_id
        self.method = method
        self.timeout_ns = head.timeout_ns
        self.encoding = head.encoding
        self.accepts = head.accepts
        self._fields = fields
        self.state: int = ServerState.RECEIVING
        self.body: bytes | None = None
        """The one message of a call that takes no more, until the request has ended."""
        self.compressed = False
        self.unframer: Unframer | None = None
        self.held = 0
        """Bytes that the ledger counts for this call, beside those of an incomplete message."""
        self.paused = False
        self.touched = touched
        """The connection's epoch when something of the call last came."""
        self.owner: Any = None

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the caller sent beside the message. Raises ValueError where a binary value is not base64."""
        return decode_metadata(self._fields)
