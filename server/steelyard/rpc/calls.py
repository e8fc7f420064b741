"""Methods and calls as the server's side of a connection knows them."""

from typing import Any, NamedTuple

from steelyard._native.rpc import ServerCall
from steelyard.rpc.happening import Happening

__all__ = ["Event", "Happening", "Method", "ServerCall"]


class Method(NamedTuple):
    """A method that is served, and what the front wants to find in its calls."""

    name: str
    streams_requests: bool
    streams_answers: bool
    handler: Any


Event = tuple[Happening, ServerCall, bytes, bool]
"""What happened to which call; for REQUEST and MESSAGE the body and whether it is compressed."""
