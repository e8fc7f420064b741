"""Calls at the server; the twin of the native ones."""

from typing import Any

from steelyard.rpc.head import Head
from steelyard.rpc.metadata import Header, decode_metadata
from steelyard.rpc.states import ServerState


class ServerCall:
    """One call at the server; see the stub of the native one."""

    def __init__(
        self,
        stream_id: int,
        method: Any,
        head: Head,
        fields: tuple[Header, ...],
        head_bytes: int,
        touched: int,
        now_ns: int,
    ) -> None:
        self.stream_id = stream_id
        self.method = method
        self.streams_requests: bool = method.streams_requests
        self.timeout_ns = head.timeout_ns
        self.deadline_ns = 0 if head.timeout_ns < 0 else now_ns + head.timeout_ns
        self.encoding = head.encoding
        self.accepts = head.accepts
        self.traceparent = head.traceparent
        self._fields = fields
        self.state: int = ServerState.RECEIVING
        self.body: bytes | None = None
        self.awaits_end = False
        self.compressed = False
        self.unframer: Any = None
        self.held = 0
        self.head_bytes = head_bytes
        self.paused = False
        self.touched = self.since = touched
        self.owner: Any = None

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return decode_metadata(self._fields)
