"""What a connection at the server tells of its calls."""

from enum import IntEnum


class Happening(IntEnum):
    """What happened to a call."""

    REQUEST = 0
    """A call came with its one message. The call's method takes no more."""
    OPENED = 1
    """A call whose requests come one after the other has begun."""
    MESSAGE = 2
    """One of those."""
    ENDED = 3
    """The last of them has come."""
    GONE = 4
    """A call of which the front was told is no more: the peer or the connection ended it. Nothing can be sent on it."""
