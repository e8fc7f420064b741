"""The HTTP/2 library's settings for our limits, and the frames that it cannot send any more when it has given up."""

from struct import Struct

from ngh2.config import Configuration, Role
from ngh2.enums import Setting

from steelyard.rpc.limits import Limits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Taken from the library at once. What a peer's windows allow can be megabytes, and would be copied whole; and blocks of
# 128 KB or more are new memory each time, which costs as much as all the rest: 256 KB at once were half as fast.
SLICE_BYTES = 48 << 10

# A stream that has so much unread has its peer told to stop sending.
UNREAD_BYTES = 256 << 10

# A stream of which so much waits for the peer makes no more messages.
UNSENT_BYTES = 256 << 10

_GOAWAY = Struct(">HBBBIII")
_GOAWAY_TYPE = 7
_GOAWAY_BYTES = 8


def configuration(limits: Limits) -> Configuration:
    """How the library holds `limits`.

    Windows are updated by the library: where we do it ourselves, bytes of a frame whose stream is closed half-way are
    lost for the connection (ngh2 0.3.0), and the connection with them after some hundred refused uploads.
    """
    return Configuration(
        auto_window_update=True,
        peer_max_concurrent_streams=limits.max_streams,
        max_outbound_ack=limits.max_acknowledgements,
        max_settings=limits.max_settings,
        stream_reset_rate_limit=(limits.reset_burst, limits.reset_rate),
        max_continuations=limits.max_continuations,
        glitch_rate_limit=(limits.glitch_burst, limits.glitch_rate),
        max_inbound_header_list_size=limits.hard_header_bytes,
        max_inbound_header_count=limits.hard_header_fields,
    )


def settings(limits: Limits, role: Role) -> dict[int, int]:
    """What we tell the peer when the connection begins."""
    told: dict[int, int] = {
        Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
        Setting.MAX_FRAME_SIZE: limits.max_frame_bytes,
        Setting.MAX_HEADER_LIST_SIZE: limits.max_header_bytes,
    }
    if role is Role.SERVER:
        told[Setting.MAX_CONCURRENT_STREAMS] = limits.max_streams
    else:
        told[Setting.ENABLE_PUSH] = 0
    return told


def goaway(last_stream_id: int, code: int) -> bytes:
    """A GOAWAY frame, for a session that the library has given up and can send nothing for."""
    return _GOAWAY.pack(0, _GOAWAY_BYTES, _GOAWAY_TYPE, 0, 0, last_stream_id, code)
