"""What a peer may make us hold or do; every limit says what it stops."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one connection, whichever role we have on it."""

    max_message_bytes: int = 64 << 20
    """A longer message is refused when its prefix announces it; nothing is reserved for it before it arrives."""

    max_frame_bytes: int = 16 << 10
    """The largest frame that a peer may send. A connection holds at most one that is not whole, so four thousand of
    them hold 64 MB that nobody else counts."""

    stream_window_bytes: int = 1 << 20
    """What a peer may send on one call before it hears that we have read on: a round trip of 10 ms then carries
    100 MB/s. It is also what may still come of a stream after it was told to pause."""

    connection_window_bytes: int = 16 << 20
    """The same over all calls of a connection, so that a few large uploads do not stop each other."""

    max_streams: int = 256
    """Calls that may be open on one connection; further ones wait at the client. With the windows above it bounds what
    streams that nobody reads can hold."""

    max_header_bytes: int = 32 << 10
    """Decoded headers of one call, 32 bytes a field added as HTTP/2 counts them. A call over it is refused alone."""

    hard_header_bytes: int = 256 << 10
    """Where decoding stops and the connection ends, since a block that is not decoded to its end leaves the two sides'
    header tables different. An honest client that is over the limit above is still told so."""

    hard_header_fields: int = 1024
    """The same for the number of fields, which cost more than their bytes."""

    max_continuations: int = 16
    """CONTINUATION frames after one HEADERS: a block of 256 KB in frames of 16 KB. More is the flood of 2024
    (CVE-2024-27316)."""

    reset_burst: int = 10_000
    reset_rate: int = 2_000
    """RST_STREAM frames at once, and a second after that: rapid reset (CVE-2023-44487) has tens of thousands a second,
    while a client that cancels two hundred calls at once, now and then, is an ordinary one."""

    glitch_burst: int = 10_000
    glitch_rate: int = 330
    """Suspicious frames (empty DATA, needless updates, unknown ones) at once, and a second after that."""

    max_acknowledgements: int = 1_000
    """Answers to PING and SETTINGS that wait because the peer does not read them (CVE-2019-9512, CVE-2019-9515)."""

    max_settings: int = 32
    """Entries of one SETTINGS frame."""

    connection_bytes: int = 128 << 20
    """Requests of one connection that are in the server, whole or in part, and their headers where those are large.
    While so many are whole and being worked on, nothing more is read from it; a call that cannot be completed within it
    is refused."""

    send_bytes: int = 64 << 20
    """Answers of one connection that its peer has not taken, or that its streams have not sent. One answer may wait
    alone, if it fits among those of all connections; a further one that does not fit ends its call instead."""


@dataclass(frozen=True, slots=True)
class TotalLimits:
    """Limits over all connections of a process."""

    max_connections: int = 4_000
    """A further connection is closed at once. An idle one costs up to 24 KB, and with TLS up to 210 KB."""

    max_calls: int = 100_000
    """Calls that are open at the same time. One costs some 5 KB beside its bytes, so that they are 540 MB, where
    `max_streams` on every connection would be a million and 5.5 GB. A connection with fewer than 16 may always begin
    one: who begins many costs others none of their few, which are 64,000 more at 4,000 connections, 350 MB."""

    received_bytes: int = 1 << 30
    """As `connection_bytes`, over all connections."""

    send_bytes: int = 512 << 20
    """As `Limits.send_bytes`, over all connections. An answer of up to 16 KB for a connection for which no other waits
    always may, so that slow readers do not end everybody's calls: four thousand of them are 64 MB more."""
