"""The look at a connection once a second: what takes too long is ended."""

from typing import TYPE_CHECKING

from steelyard.fronts.http2.patience import Patience
from steelyard.rpc import codes

if TYPE_CHECKING:
    from steelyard.fronts.http2.connection import Http2Connection


def look_at(connection: "Http2Connection", patience: Patience, epoch: int, now_ns: int) -> None:
    """Ends the connection, or calls of it, where their time is up: at `epoch`, and deadlines at `now_ns`."""
    rpc = connection.rpc
    rpc.tick(epoch)
    if connection.takes():
        connection.taken_epoch = epoch
    elif _over(patience.stalled_write_s, connection.taken_epoch, epoch):
        # A GOAWAY would not arrive either.
        connection.abort(f"the peer took nothing of its answers for {patience.stalled_write_s} s")
        return
    if connection.is_closing:
        return
    if not rpc.began:
        if _over(patience.handshake_s, connection.began_epoch, epoch):
            connection.close(f"no HTTP/2 preface came within {patience.handshake_s} s")
        return
    if connection.reading_paused:
        # It is we who do not listen.
        connection.not_heard(epoch)
    elif rpc.frames.open_since >= 0 and _over(patience.stalled_frame_s, rpc.frames.open_since, epoch):
        connection.abandon(f"a frame was not complete within {patience.stalled_frame_s} s")
        return
    if not rpc.calls:
        if _over(patience.idle_s, connection.idle_epoch, epoch):
            _leave(connection, epoch)
    else:
        _end_incomplete(connection, patience, epoch, now_ns)
    if connection.leaving_epoch >= 0 or _over(patience.age_s, connection.began_epoch, epoch):
        _leave(connection, epoch)
    if connection.asked_epoch >= 0:
        if _over(patience.keepalive_timeout_s, connection.asked_epoch, epoch):
            connection.abandon("the peer does not answer", codes.NO_ERROR)
    elif _over(patience.keepalive_s, connection.heard_epoch, epoch):
        connection.asked_epoch = epoch
        connection.ask()


def _end_incomplete(connection: "Http2Connection", patience: Patience, epoch: int, now_ns: int) -> None:
    """Ends the calls whose requests have taken too long to come."""
    rpc = connection.rpc
    for call in list(rpc.calls.values()):
        if not rpc.is_incomplete(call):
            continue
        if 0 < call.deadline_ns <= now_ns:
            connection.end_incomplete(call, "the deadline passed before the request was complete")
        elif _over(patience.stalled_body_s, call.touched, epoch):
            connection.end_incomplete(call, f"nothing of the request came for {patience.stalled_body_s} s")
        elif _over(patience.whole_body_s, call.since, epoch):
            connection.end_incomplete(call, f"the request was not complete within {patience.whole_body_s} s")


def _over(limit_s: int, since: int, epoch: int) -> bool:
    return limit_s > 0 and epoch - since >= limit_s


def _leave(connection: "Http2Connection", epoch: int) -> None:
    """Has the peer begin no new calls, and takes none a second later."""
    if connection.leaving_epoch < 0:
        connection.leave()
    elif connection.leaving_epoch < epoch and not connection.has_left:
        connection.leave_now()
