"""One stream of inference as bytes: requests out, answers in, and which answer is whose."""

import time
from dataclasses import replace

from steelyard.client.requests import Request, encode_request
from steelyard.client.results import StreamAnswer, decode_stream_response


class StreamCodec:
    """Gives a request without an id its position in the stream as one, so that answers can be told apart."""

    def __init__(self) -> None:
        self._sent_ns: dict[str, int] = {}
        self._count = 0

    def encode(self, request: Request) -> bytes:
        """The serialized request."""
        if not request.request_id:
            request = replace(request, request_id=str(self._count))
        self._count += 1
        body = encode_request(request)
        self._sent_ns[request.request_id] = time.monotonic_ns()
        return body

    def decode(self, body: bytes) -> StreamAnswer:
        """The answer in a message of the stream."""
        return decode_stream_response(body, self._elapsed_ns)

    def _elapsed_ns(self, request_id: str) -> int:
        now_ns = time.monotonic_ns()
        return now_ns - self._sent_ns.pop(request_id, now_ns)
