"""The front that the settings name: made with their limits, and started on the listeners of the supervisor."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from steelyard.config import Settings
from steelyard.fronts.http2.front import Http2Front
from steelyard.fronts.http2.patience import Patience
from steelyard.fronts.tls import ServedTls
from steelyard.fronts.waiting import WaitingAnswers
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.serving.engine import Engine
from steelyard.serving.methods import Methods
from steelyard.supervisor.listeners import Handed, tls_files
from steelyard.supervisor.listening import socket_mode

if TYPE_CHECKING:
    from steelyard.fronts.grpcio import GrpcioFront

Front: TypeAlias = "GrpcioFront | Http2Front"

# Between two looks at TLS's files: three calls of the system. A new certificate is taken at the second that finds it.
TLS_LOOK_S = 1.0


def make_front(settings: Settings, methods: Methods, engine: Engine) -> Front:
    """A front that does not listen yet."""
    compress = settings.compress_answers == "gzip"
    if settings.front == "http2":
        return Http2Front(
            methods, engine, limits(settings), total_limits(settings), patience(settings), compress
        )
    # grpcio takes a tenth of a second to be imported, at every start of a worker that may never need it.
    from steelyard.fronts.grpcio import GrpcioFront

    waiting = WaitingAnswers(settings.connection_send_bytes, settings.total_send_bytes)
    return GrpcioFront(methods, engine, settings.max_message_bytes, compress, waiting)


async def start_front(front: Front, settings: Settings, listeners: Sequence[Handed]) -> ServedTls | None:
    """Serves on the listeners; returns what TLS is served with. Raises `ConfigError` where a listener cannot be had, or
    a file of TLS cannot be used."""
    files = tls_files(settings)
    tls = None if files is None else ServedTls(files)
    if isinstance(front, Http2Front):
        await front.start([(socket.socket(fileno=one.fd), tls if one.tls else None) for one in listeners])
    else:
        with socket_mode(int(settings.grpc_socket_mode, 8)):
            await front.start([(one.address, tls if one.tls else None) for one in listeners])
    return tls


async def stand_in(front: Http2Front, tls: ServedTls | None, away: Mapping[int, Sequence[Handed]]) -> None:
    """Accepts also from the listeners of workers that are away, by their numbers, and from no others'. Raises OSError
    where there is no descriptor for all of one, and then accepts from none of its listeners."""
    for worker in front.accepting.others - away.keys():
        front.accepting.rest(worker)
    for worker in away.keys() - front.accepting.others:
        with contextlib.ExitStack() as undone:
            listeners = []
            for one in away[worker]:
                listener = socket.socket(fileno=os.dup(one.fd))
                undone.callback(listener.close)
                listeners.append((listener, tls if one.tls else None))
            undone.callback(front.accepting.rest, worker)
            await front.accepting.begin(listeners, worker)
            undone.pop_all()


async def keep_current(tls: ServedTls, told: Callable[[bool], None]) -> None:
    """Looks at the files for ever; `told` hears of each time that they had changed, and whether they could be used."""
    while True:
        await asyncio.sleep(TLS_LOOK_S)
        # On a thread: they may lie somewhere slow.
        taken = await asyncio.to_thread(tls.look)
        if taken is not None:
            told(taken)


def limits(settings: Settings) -> Limits:
    """The limits of one connection."""
    return Limits(
        max_message_bytes=settings.max_message_bytes,
        max_frame_bytes=settings.max_frame_bytes,
        stream_window_bytes=settings.stream_window_bytes,
        connection_window_bytes=settings.connection_window_bytes,
        max_streams=settings.max_streams,
        max_header_bytes=settings.max_header_bytes,
        hard_header_bytes=settings.hard_header_bytes,
        hard_header_fields=settings.hard_header_fields,
        max_continuations=settings.max_continuations,
        reset_burst=settings.reset_burst,
        reset_rate=settings.reset_rate,
        glitch_burst=settings.glitch_burst,
        glitch_rate=settings.glitch_rate,
        max_acknowledgements=settings.max_acknowledgements,
        max_settings=settings.max_settings_entries,
        connection_bytes=settings.connection_received_bytes,
        send_bytes=settings.connection_send_bytes,
    )


def total_limits(settings: Settings) -> TotalLimits:
    """The limits over all connections."""
    return TotalLimits(
        max_connections=settings.max_connections,
        max_calls=settings.max_open_calls,
        received_bytes=settings.total_received_bytes,
        send_bytes=settings.total_send_bytes,
    )


def patience(settings: Settings) -> Patience:
    """How long connections may take."""
    return Patience(
        handshake_s=settings.handshake_timeout_s,
        stalled_frame_s=settings.frame_timeout_s,
        stalled_body_s=settings.body_timeout_s,
        whole_body_s=settings.upload_timeout_s,
        stalled_write_s=settings.write_timeout_s,
        idle_s=settings.idle_timeout_s,
        age_s=settings.max_connection_age_s,
        keepalive_s=settings.keepalive_interval_s,
        keepalive_timeout_s=settings.keepalive_timeout_s,
    )
