"""The states of a call on either side, and what may happen in each."""

from enum import IntEnum


class ServerState(IntEnum):
    """Where a call stands at the server."""

    RECEIVING = 0
    """The request is coming; nothing was sent."""
    RECEIVED = 1
    """The request is whole; nothing was sent."""
    RECEIVING_ANSWERING = 2
    """The answer's headers are out; the request is coming."""
    ANSWERING = 3
    """The answer's headers are out; the request is whole."""
    DISCARDING = 4
    """The status is out; what still comes of the request is thrown away."""
    CLOSED = 5


class ServerAction(IntEnum):
    """What happens to a call at the server."""

    MESSAGE_IN = 0
    END_IN = 1
    RESET_IN = 2
    HEADERS_OUT = 3
    MESSAGE_OUT = 4
    STATUS_OUT = 5
    RESET_OUT = 6


class ClientState(IntEnum):
    """Where a call stands at the client."""

    SENDING = 0
    """The request is being sent; nothing came."""
    SENT = 1
    """The request is out; nothing came."""
    SENDING_ANSWERED = 2
    """The answer's headers came; the request is being sent."""
    ANSWERED = 3
    """The answer's headers came; the request is out."""
    CLOSED = 4


class ClientAction(IntEnum):
    """What happens to a call at the client."""

    MESSAGE_OUT = 0
    END_OUT = 1
    HEADERS_IN = 2
    MESSAGE_IN = 3
    STATUS_IN = 4
    RESET_IN = 5
    RESET_OUT = 6


class CallStateError(Exception):
    """Something was asked of a call that its state does not allow: a fault of ours, never of the peer's."""


NEVER = -1

# By state, then by action: the next state, or NEVER. Rows and columns stand as the enums number them.
SERVER_TABLE: tuple[tuple[int, ...], ...] = (
    # message, end, reset in; headers, message, status, reset out
    (0, 1, 5, 2, NEVER, 4, 5),
    (NEVER, NEVER, 5, 3, NEVER, 5, 5),
    (2, 3, 5, NEVER, 2, 4, 5),
    (NEVER, NEVER, 5, NEVER, 3, 5, 5),
    (4, 5, 5, NEVER, NEVER, NEVER, 5),
    (NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER),
)

CLIENT_TABLE: tuple[tuple[int, ...], ...] = (
    # message, end out; headers, message, status, reset in; reset out
    (0, 1, 2, NEVER, 4, 4, 4),
    (NEVER, NEVER, 3, NEVER, 4, 4, 4),
    (2, 3, NEVER, 2, 4, 4, 4),
    (NEVER, NEVER, NEVER, 3, 4, 4, 4),
    (NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER),
)


def server_step(state: int, action: ServerAction) -> int:
    """The state after `action`. Raises CallStateError where it may not happen."""
    after = SERVER_TABLE[state][action]
    if after == NEVER:
        raise CallStateError(f"{action.name} in state {ServerState(state).name}")
    return after


def client_step(state: int, action: ClientAction) -> int:
    """The state after `action`. Raises CallStateError where it may not happen."""
    after = CLIENT_TABLE[state][action]
    if after == NEVER:
        raise CallStateError(f"{action.name} in state {ClientState(state).name}")
    return after
