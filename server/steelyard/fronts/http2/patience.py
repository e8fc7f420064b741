"""How long a connection may take over what it does; every time says what it stops."""

from dataclasses import dataclass

# So long a handshake that is under way is waited for by who leaves, where its own time has no end.
ENDLESS_HANDSHAKE_S = 10


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds, whole ones: connections are looked at once a second. 0: for ever."""

    handshake_s: int = 10
    """From the connection to HTTP/2's preface, TLS included: a socket that says nothing costs a place among
    `max_connections`."""

    stalled_frame_s: int = 30
    """For one frame or one block of headers, from its first byte to its last: what is not whole can be neither refused
    nor counted. A frame of 16 KB in 30 s is 550 bytes a second."""

    stalled_body_s: int = 30
    """Between two pieces of a message: a call that is never completed holds what came of it."""

    whole_body_s: int = 600
    """From a call's headers, or the first byte of a stream's message, to the end, however it trickles: 64 MB within it
    are 110 KB a second. A call that gets a byte now and then holds what came of it for no longer."""

    stalled_write_s: int = 60
    """Without the peer taking anything of the answers that wait for it."""

    idle_s: int = 300
    """Without a call. A client connects again with its next one."""

    age_s: int = 0
    """From the connection to a GOAWAY, whatever it does; for balancers that must spread clients over new servers."""

    keepalive_s: int = 60
    """Without a byte from the peer before it is asked whether it is there: a peer that has lost its power closes
    nothing."""

    keepalive_timeout_s: int = 20
    """From that question to the end, without an answer."""
