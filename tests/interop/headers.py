"""One call by `h2`, a library for HTTP/2 that knows no gRPC: headers, messages and trailers as they travel."""

import socket
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived


@dataclass
class Answer:
    """What came on the stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    reset: int | None = None
    """The code of the reset that ended it, where one did."""


def headers_of(address: str, method: str, body: bytes, accepts: str | None) -> Answer:
    """The answer to a unary call."""
    host, port = address.rsplit(":", 1)
    h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", method),
        (":authority", address),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    if accepts is not None:
        fields.append(("grpc-accept-encoding", accepts))
    message = b"\0" + len(body).to_bytes(4) + body
    answer = Answer()
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        h2.initiate_connection()
        h2.send_headers(1, fields)
        ended = False
        while not ended:
            while message and (room := min(h2.local_flow_control_window(1), h2.max_outbound_frame_size)):
                part, message = message[:room], message[room:]
                h2.send_data(1, part, end_stream=not message)
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
    return answer
