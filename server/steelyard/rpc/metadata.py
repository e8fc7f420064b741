"""Metadata of a call as header fields: names checked, binary values in base64."""

import binascii
import re
from collections.abc import Iterable, Sequence

Header = tuple[bytes, bytes]
Metadata = Sequence[tuple[str, str | bytes]]

BINARY = b"-bin"

_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(rb"[ -~]*")

# Fields that gRPC or HTTP/2 itself uses; none of them is the caller's.
RESERVED = frozenset((b"te", b"content-type", b"content-length", b"host", b"connection"))


def encode_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> list[Header]:
    """The header fields of `metadata`.

    A name that ends in -bin has bytes, any other text of printable ASCII. Raises ValueError for a name or a value that
    cannot travel.
    """
    fields = []
    for name, value in metadata:
        if _NAME.fullmatch(name) is None or (name.startswith("grpc-") and name not in ALLOWED_GRPC):
            raise ValueError(f"expected metadata named with 0-9 a-z _ . - and not grpc-, came {name[:80]!r}")
        key = name.encode()
        if key in RESERVED:
            raise ValueError(f"metadata may not be named {name!r}: HTTP/2 itself uses it")
        if name.endswith("-bin"):
            raw = value.encode() if isinstance(value, str) else value
            fields.append((key, binascii.b2a_base64(raw, newline=False).rstrip(b"=")))
            continue
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        if _VALUE.fullmatch(raw) is None:
            raise ValueError(f"metadata {name!r}: expected printable ASCII, or a name that ends in -bin")
        fields.append((key, raw))
    return fields


# What servers and clients of gRPC say to each other in metadata.
ALLOWED_GRPC = frozenset(("grpc-retry-pushback-ms", "grpc-previous-rpc-attempts", "grpc-status-details-bin"))


def decode_metadata(fields: Iterable[Header]) -> tuple[tuple[str, str | bytes], ...]:
    """The metadata among header fields: neither pseudo-headers nor what gRPC itself uses.

    Raises ValueError where a binary value is not base64.
    """
    found: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        if name.startswith(b":") or name in RESERVED:
            continue
        text = name.decode("ascii", "replace")
        if name.startswith(b"grpc-") and text not in ALLOWED_GRPC:
            continue
        if name.endswith(BINARY):
            # Several values may share a field, and padding may be left out.
            found += [(text, decode_binary(text, part.strip())) for part in value.split(b",")]
        else:
            found.append((text, value.decode("utf-8", "replace")))
    return tuple(found)


def decode_binary(name: str, value: bytes) -> bytes:
    """Bytes of one base64 value, padded or not. Raises ValueError."""
    try:
        return binascii.a2b_base64(
            value.rstrip(b"=") + b"=" * (-len(value.rstrip(b"=")) % 4), strict_mode=True
        )
    except binascii.Error:
        raise ValueError(f"metadata {name[:80]!r}: expected base64") from None
