"""Who acts: what the kernel says of the process at the other end of the admin socket, beside what it says of itself."""

import asyncio
import contextlib
import pwd
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import replace

from steelyard.evidence.event import Draft
from steelyard.serving.methods import Context, Methods, Unary

# Who acts where nobody asked. Nobody else is recorded under this name.
SERVER = "server"


# Details of every event that somebody's call leads to: a user's id, and the name that this machine knows it by.
_details: ContextVar[Mapping[str, int | str] | None] = ContextVar("details", default=None)

# Names by user id. Who may open the socket is the server's own user and root, so these are two.
_users: dict[int, str] = {}


def identified(methods: Methods) -> Methods:
    """The same table; what its single calls record has the user who called."""
    return replace(methods, unary={name: _identified(handle) for name, handle in methods.unary.items()})


def named(actor: str) -> str:
    """What a caller's name for themselves is recorded as."""
    return f"{SERVER} (says the caller)" if actor == SERVER else actor


def attributed(draft: Draft) -> Draft:
    """`draft` with the user who called, where somebody did: `peer_uid`, and `peer_user`, which is empty where this
    machine has no name for it. What the server does by itself, in the course of that or long after, has neither."""
    details = _details.get()
    if details is None or draft.actor == SERVER:
        return draft
    return replace(draft, details={**draft.details, **details})


@contextlib.contextmanager
def acting(uid: int, user: str) -> Iterator[None]:
    """What is recorded from here on, and in tasks that are begun from here, is done by this user."""
    token = _details.set({"peer_uid": uid, "peer_user": user})
    try:
        yield
    finally:
        _details.reset(token)


def _identified(handle: Unary) -> Unary:
    async def handler(body: bytes, context: Context) -> bytes:
        if context.peer_uid is None:
            return await handle(body, context)
        with acting(context.peer_uid, await _user(context.peer_uid)):
            return await handle(body, context)

    return handler


async def _user(uid: int) -> str:
    """The name of a user; empty where the machine knows none."""
    if uid not in _users:
        # The answer may come from another machine.
        _users[uid] = await asyncio.to_thread(_name_of, uid)
    return _users[uid]


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return ""
