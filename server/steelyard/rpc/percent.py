"""Status messages as they travel: UTF-8, with everything percent-encoded but printable ASCII."""

import re

_NOT_PLAIN = re.compile(rb"[^ -$&-~]")
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")


def percent_encode(text: str) -> bytes:
    """The value of grpc-message for `text`."""
    raw = text.encode("utf-8", "replace")
    return _NOT_PLAIN.sub(lambda found: b"%%%02X" % found[0][0], raw)


def percent_decode(value: bytes) -> str:
    """The text in a grpc-message. No value is an error: what is not encoded well stands for itself, as gRPC asks."""
    return _ENCODED.sub(lambda found: bytes((int(found[1], 16),)), value).decode("utf-8", "replace")
