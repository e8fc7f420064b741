"""The calls of a connection that go the usual way. Twin: `steelyard.rpc.plain`."""

from collections.abc import Mapping
from typing import Any, final

Header = tuple[bytes, bytes]

@final
class Ledger:
    """Bytes of one connection, or of all; every change of a connection's is one of its whole's."""

    def __init__(self, whole: Ledger | None = None) -> None: ...
    @property
    def whole(self) -> Ledger | None: ...
    @property
    def incoming(self) -> int:
        """Of requests that are not whole, and of streams' messages that their handlers have not read."""

    @property
    def working(self) -> int:
        """Of whole requests whose calls have not ended."""

    @property
    def outgoing(self) -> int:
        """Of answers that the peer has not taken."""

    @property
    def calls(self) -> int:
        """Those that are open; no bytes."""

    @property
    def received(self) -> int:
        """Bytes of requests, complete or not."""

    def arrive(self, count: int) -> None:
        """So many bytes of what is incomplete or unread came, or went where `count` is under zero."""

    def work(self, count: int) -> None:
        """A request of so many bytes is worked on, or no longer where `count` is under zero."""

    def wait(self, count: int) -> None:
        """So many bytes of answers wait, or no longer where `count` is under zero."""

    def open(self, count: int) -> None:
        """So many calls were begun, or are over where `count` is under zero."""

@final
class Frames:
    """Where a peer's frames begin and end, from its first byte on; the preface is one."""

    def __init__(self) -> None: ...

    epoch: int
    open_since: int
    """The epoch in which the first byte of a frame, or of a block of headers, came whose last has not; -1: of none."""

    def take(self, data: bytes | memoryview) -> None:
        """These bytes came."""

@final
class ServerCall:
    """One call at the server."""

    @property
    def stream_id(self) -> int: ...
    @property
    def method(self) -> Any:
        """A `rpc.calls.Method`."""

    @property
    def streams_requests(self) -> bool:
        """As the method says."""

    @property
    def timeout_ns(self) -> int:
        """What the caller gives the call from its begin; -1 where it set nothing."""

    @property
    def deadline_ns(self) -> int:
        """When that is over, by the clock of `Traffic.now_ns`; 0 where the caller set nothing."""

    @property
    def encoding(self) -> bytes:
        """Of the request's compressed messages."""

    @property
    def accepts(self) -> bytes:
        """The encodings that the caller understands, as it wrote them; empty where it did not."""

    @property
    def traceparent(self) -> bytes:
        """Of W3C Trace Context, as the caller wrote it; empty where it did not."""

    state: int
    """A `rpc.states.ServerState`."""
    body: bytes | None
    """The one message of a call that takes no more, where it came before the request's end."""
    awaits_end: bool
    """Whether that message is whole and the request has not ended; nobody works on it until then."""
    compressed: bool
    unframer: Any
    """Puts messages together that come in pieces; None before the first does."""
    held: int
    """Bytes that the ledger counts for this call, beside those of an incomplete message and of its head."""
    head_bytes: int
    """Bytes that the ledger counts for the call's header fields; 0 where they are few."""
    paused: bool
    """Whether the peer was told to send no more on this stream for now."""
    touched: int
    """The connection's epoch when something of the call last came."""
    since: int
    """The same when the call began, or of one that streams, the message that is coming."""
    owner: Any
    """The front's."""

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the caller sent beside the message. Raises ValueError where a binary value is not base64."""

class Unframer:
    """Holds the bytes of the message that is coming; nothing is backed by memory for what was only announced."""

    def __init__(self, max_bytes: int) -> None: ...
    @property
    def held(self) -> int:
        """Bytes of a message that is not complete; while its prefix is not, of that."""

    @property
    def in_message(self) -> bool:
        """Whether a message has begun that is not complete; of its prefix alone nothing is held."""

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """The messages that `data` completes, each with whether it is compressed. Raises FramingError."""

    def drop(self) -> None:
        """Forgets what came of a message."""

class Traffic:
    """The calls of one connection."""

    def __init__(
        self,
        h2: Any,
        others: Any,
        methods: Mapping[bytes, Any],
        limits: Any,
        totals: Any,
        total: Ledger,
    ) -> None:
        """
        h2: the library's connection, in the server's role.
        others: does what is out of the ordinary; see `rpc.server.ServerConnection`.
        methods: a `rpc.calls.Method` by each path.
        limits, totals: a `rpc.limits.Limits` and a `TotalLimits`, which bounds what `total` counts.
        """

    @property
    def calls(self) -> dict[int, ServerCall]:
        """By stream; those that are not over."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def total(self) -> Ledger: ...
    @property
    def frames(self) -> Frames: ...
    @property
    def last_stream_id(self) -> int:
        """Of the call that began last."""

    epoch: int
    now_ns: int
    """The time, for calls that begin."""
    seen: int
    """Calls that have begun."""

    def take(self, events: list[Any], found: list[Any]) -> None:
        """Takes what the library tells; adds a `rpc.calls.Event` to `found` for what came of it."""

    def answer(self, call: ServerCall, body: bytes, trailing: list[Header]) -> str | None:
        """Ends a call with its one message and status OK; or with an error where there is no room for it, and returns
        what that says."""

    def has_room(self, size: int) -> bool:
        """Whether an answer of so many bytes may wait for the peer. The only one of its connection may while it fits
        among those of all, and a small one always; the only one of all may."""
