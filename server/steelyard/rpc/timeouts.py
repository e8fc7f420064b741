"""The grpc-timeout header: at most eight digits and a unit."""

_NS_OF_UNIT = {
    ord("H"): 3_600_000_000_000,
    ord("M"): 60_000_000_000,
    ord("S"): 1_000_000_000,
    ord("m"): 1_000_000,
    ord("u"): 1_000,
    ord("n"): 1,
}

MAX_DIGITS = 8

# Sixty years. More is as good as no deadline, and a deadline in nanoseconds has to fit into 64 bits.
MAX_NS = 2_000_000_000 * 10**9


def parse_timeout(value: bytes) -> int:
    """Nanoseconds of a timeout such as b"250m", at most `MAX_NS`. Raises ValueError for what gRPC does not allow."""
    unit = _NS_OF_UNIT.get(value[-1], 0) if value else 0
    digits = value[:-1]
    if not unit or not digits.isdigit() or len(digits) > MAX_DIGITS:
        raise ValueError("expected one to eight digits and one of the units H, M, S, m, u, n")
    return min(int(digits) * unit, MAX_NS)


def format_timeout(timeout_ns: int) -> bytes:
    """The header's value for `timeout_ns`, rounded up; in the finest unit that eight digits hold.

    Raises ValueError where it is under zero. One that is longer than gRPC can say becomes the longest that it can.
    """
    if timeout_ns < 0:
        raise ValueError(f"expected a timeout of zero or more, came {timeout_ns} ns")
    for unit in b"numSMH":
        count = -(-timeout_ns // _NS_OF_UNIT[unit])
        if count < 10**MAX_DIGITS:
            return b"%d%c" % (count, unit)
    return b"99999999H"
