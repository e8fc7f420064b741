"""One call by `h2`, a library for HTTP/2 that knows no gRPC: headers, messages and trailers as they travel."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)


@dataclass
class Answer:
    """What came on the stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    reset: int | None = None
    """The code of the reset, or of the connection's end, that came instead of an answer's end."""

    @property
    def status(self) -> int | None:
        """The gRPC status, wherever it stood; None where there is none."""
        found = self.trailers.get("grpc-status", self.headers.get("grpc-status"))
        return None if found is None else int(found)


def framed(body: bytes, flag: int = 0) -> bytes:
    """A message behind its prefix."""
    return bytes([flag]) + len(body).to_bytes(4) + body


def answer_to(
    address: str, method: str, sent: bytes, changed: Mapping[str, str | None] = MappingProxyType({})
) -> Answer:
    """What comes of a call on which `sent` is sent as it is, with headers that are changed, or left out where None."""
    host, port = address.rsplit(":", 1)
    h2 = H2Connection(
        H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
    )
    fields: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": address,
        "te": "trailers",
        "content-type": "application/grpc",
        **changed,
    }
    answer = Answer()
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        h2.initiate_connection()
        h2.send_headers(1, [(name, value) for name, value in fields.items() if value is not None])
        if not sent:
            h2.end_stream(1)
        ended = False
        while not ended:
            while sent and (room := min(h2.local_flow_control_window(1), h2.max_outbound_frame_size)):
                part, sent = sent[:room], sent[room:]
                h2.send_data(1, part, end_stream=not sent)
            connection.sendall(h2.data_to_send())
            data = connection.recv(1 << 16)
            assert data, "the server closed the connection before it had answered"
            for event in h2.receive_data(data):
                if isinstance(event, ResponseReceived):
                    answer.headers = dict(event.headers)
                elif isinstance(event, DataReceived):
                    answer.body += event.data
                    h2.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, TrailersReceived):
                    answer.trailers = dict(event.headers)
                elif isinstance(event, StreamReset):
                    answer.reset, ended = int(event.error_code), True
                elif isinstance(event, StreamEnded):
                    ended = True
                elif isinstance(event, ConnectionTerminated):
                    answer.reset, ended = int(event.error_code), True
    return answer
