"""How a channel of ours is set up, the same for both clients."""

from dataclasses import dataclass

from steelyard.rpc.limits import Limits

USER_AGENT = b"steelyard-python"

# The server's own default; not taken from its settings, because to import those costs half as much as this package.
DEFAULT_MAX_MESSAGE_BYTES = 64 << 20

# From the first byte of a connection to the server's SETTINGS, TLS included; gRPC's own is the same.
CONNECT_TIMEOUT_S = 20.0

# Calls that wait for a connection, or for the server to take more at once. Their requests are the caller's memory: this
# is where a caller that never waits for its answers hears of it.
MAX_WAITING_CALLS = 16_384

# Read at once; the most that the kernel usually holds.
READ_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a channel does beside calls."""

    limits: Limits
    keepalive_s: float | None = None
    """Seconds without a byte from the server, while calls are open, before it is asked whether it is there."""
    keepalive_timeout_s: float = 20.0
    """From that question to the end, without an answer."""
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    max_waiting_calls: int = MAX_WAITING_CALLS
