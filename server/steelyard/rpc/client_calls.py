"""Calls as the client's side of a connection knows them."""

from enum import IntEnum
from typing import Any

from steelyard._native.rpc import Unframer
from steelyard.rpc import codes
from steelyard.rpc.metadata import Header, decode_metadata
from steelyard.rpc.states import ClientState


class ClientHappening(IntEnum):
    """What a connection tells of a call."""

    HEADERS = 0
    """The answer has begun. Only told of calls whose answers come one after the other."""
    MESSAGE = 1
    """One of those."""
    ENDED = 2
    """The call is over: `code`, `message` and `trailing` hold how. A call with one answer has its body here."""


ClientEvent = tuple[ClientHappening, "ClientCall", bytes, bool]
"""What happened to which call; the body of a message, and whether it is compressed."""


class ClientCall:
    """One call at the client. `owner` is the channel's."""

    __slots__ = (
        "body",
        "code",
        "compressed",
        "encoding",
        "fields",
        "held",
        "message",
        "never_ran",
        "owner",
        "paused",
        "state",
        "stream_id",
        "streams_answers",
        "trailing",
        "unframer",
    )

    def __init__(self, stream_id: int, streams_answers: bool, owner: Any) -> None:
        self.stream_id = stream_id
        self.streams_answers = streams_answers
        self.owner = owner
        self.state: int = ClientState.SENDING
        self.encoding = b"identity"
        self.fields: tuple[Header, ...] = ()
        """Of the answer's head, once it came."""
        self.trailing: tuple[Header, ...] = ()
        """Of its end; of the head where there is nothing else."""
        self.code = codes.OK
        self.message = ""
        self.never_ran = False
        """Whether the server says that it has not begun the call, so that it may be sent again."""
        self.body: bytes | None = None
        """The one message of a call that takes no more."""
        self.compressed = False
        self.unframer: Unframer | None = None
        self.held = 0
        """Bytes of messages that were told and not read."""
        self.paused = False

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the server sent before its messages. Raises ValueError where a binary value is not base64."""
        return decode_metadata(self.fields)

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the server sent after them. Raises ValueError where a binary value is not base64."""
        return decode_metadata(self.trailing)
