"""The admin service: what operators ask of a running server, over a Unix socket that only its owner can open."""

import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from steelyard.errors import ConfigError, InvalidRequest
from steelyard.evidence.event import Event
from steelyard.fronts.http2.front import Http2Front
from steelyard.models.names import name_problem
from steelyard.rollout.labels import Holder, Label
from steelyard.rpc.limits import Limits
from steelyard.serving.messages import serialized
from steelyard.serving.methods import Methods
from steelyard.supervisor.acting import identified, named
from steelyard.supervisor.drills import STAY_S, Drills
from steelyard.supervisor.label_moves import LabelMoves
from steelyard.supervisor.listening import socket_mode
from steelyard.supervisor.record import Record
from steelyard.wire.admin import ADMIN_SOCKET, SERVICE, socket_path
from steelyard.wire.generated import admin as pb

# Requests are names and reasons; what comes back is events, a few kilobytes each at most.
MAX_MESSAGE_BYTES = 16 << 20

# Commands that ask at the same moment.
BACKLOG = 128

# To send what those are told whose calls the stop has broken off, and for nothing else.
ANSWERED_WITHIN_S = 0.1

# A list of events stays well below that, whatever they say.
MAX_LISTED_BYTES = 8 << 20

EVENTS_LISTED = 1000
MAX_EVENTS_LISTED = 10_000

# A minute away shows whether the old version carries the load.
MAX_STAY_MS = 60_000


class Admin:
    """Handlers over labels and events."""

    def __init__(self, record: Record, moves: LabelMoves, drills: Drills) -> None:
        self._record = record
        self._moves = moves
        self._drills = drills

    def register(self, methods: Methods) -> None:
        """Puts the handlers into the table."""
        handlers: dict[str, tuple[Any, Callable[[Any], Awaitable[Any]]]] = {
            "ListLabels": (pb.ListLabelsRequest, self._list_labels),
            "SetLabel": (pb.SetLabelRequest, self._set_label),
            "RemoveLabel": (pb.RemoveLabelRequest, self._remove_label),
            "Rollback": (pb.RollbackRequest, self._roll_back),
            "ListEvents": (pb.ListEventsRequest, self._list_events),
        }
        for name, (message, handle) in handlers.items():
            methods.unary[SERVICE + name] = serialized(message, handle)

    async def _list_labels(self, request: Any) -> Any:
        if request.model:
            check_model(request.model)
        found = self._moves.labels(request.model)
        return pb.ListLabelsResponse(labels=[label_message(model, label) for model, label in found])

    async def _set_label(self, request: Any) -> Any:
        event = await self._moves.set(
            request.model,
            request.label,
            request.version,
            named(request.who.actor),
            request.who.reason,
            request.expected or None,
        )
        return event_message(event)

    async def _remove_label(self, request: Any) -> Any:
        who = request.who
        return event_message(
            await self._moves.remove(request.model, request.label, named(who.actor), who.reason)
        )

    async def _roll_back(self, request: Any) -> Any:
        who = request.who
        if not request.drill:
            moved = self._moves.roll_back(request.model, request.label, named(who.actor), who.reason)
            return event_message(await moved)
        if not 0 <= request.stay_ms <= MAX_STAY_MS:
            raise InvalidRequest(f"a drill stays away for 0 to {MAX_STAY_MS} ms, not {request.stay_ms}")
        stay_s = request.stay_ms / 1000 or STAY_S
        return event_message(
            await self._drills.drill(request.model, request.label, named(who.actor), who.reason, stay_s)
        )

    async def _list_events(self, request: Any) -> Any:
        if request.model:
            check_model(request.model)
        if request.after < 0 or request.limit < 0:
            raise InvalidRequest(
                f"expected after and limit of 0 or more, came {request.after} and {request.limit}"
            )
        return pb.ListEventsResponse(
            events=newest(
                self._record.events[request.after :],
                request.model,
                min(request.limit or EVENTS_LISTED, MAX_EVENTS_LISTED),
            )
        )


def check_model(name: str) -> None:
    """Raises InvalidRequest for what cannot be a model's name."""
    problem = name_problem(name)
    if problem is not None:
        raise InvalidRequest(problem)


def newest(events: Sequence[Event], model: str, limit: int, most_bytes: int = MAX_LISTED_BYTES) -> list[Any]:
    """The last `limit` events of a model, or of all where it is empty, as they travel and in their order.

    Of these, as many of the newest as have `most_bytes` together.
    """
    found: list[Any] = []
    size = 0
    for event in reversed(events):
        if len(found) == limit:
            break
        if model and event.model != model:
            continue
        message = event_message(event)
        size += message.ByteSize()
        if size > most_bytes:
            break
        found.append(message)
    return found[::-1]


def label_message(model: str, label: Label) -> Any:
    """A label as it travels."""
    return pb.Label(
        model=model,
        label=label.name,
        holder=_holder_message(label.holder),
        follows=label.follows,
        previous=_holder_message(label.earlier[-1]) if label.earlier else None,
        since_unix_ms=label.since_unix_ms,
        actor=label.actor,
        reason=label.reason,
    )


def event_message(event: Event) -> Any:
    """An event as it travels."""
    return pb.Event(
        sequence=event.sequence,
        unix_ms=event.unix_ms,
        kind=event.kind,
        model=event.model,
        actor=event.actor,
        reason=event.reason,
        digest=event.digest,
        details=json.dumps(event.details),
    )


def _holder_message(holder: Holder) -> Any:
    return pb.Holder(version=holder.number, digest=holder.digest)


class AdminSocket:
    """The socket in the data directory, and the server behind it."""

    def __init__(self, data: Path, methods: Methods) -> None:
        self._path = data / ADMIN_SOCKET
        self._directory = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._front = Http2Front(identified(methods), None, Limits(max_message_bytes=MAX_MESSAGE_BYTES))

    async def start(self) -> None:
        """Listens. Raises `ConfigError` where it cannot."""
        # What a server that was killed has left behind; the data directory is this server's alone.
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with socket_mode(0o600):
                listener.bind(socket_path(self._directory))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise ConfigError(f"data {self._path.parent}: no admin socket: {error.strerror}") from None
        await self._front.start([(listener, None)])

    async def stop(self) -> None:
        """Ends what is under way, and takes the socket away."""
        await self._front.stop(ANSWERED_WITHIN_S)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._directory)
