"""Header fields of a call as any client of gRPC sends them."""


def good_head(path: bytes, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The header fields of a good call, and `more` behind them."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]
