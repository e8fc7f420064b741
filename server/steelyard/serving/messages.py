"""Handlers on messages in the place of bytes."""

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError

from steelyard.errors import InvalidRequest
from steelyard.serving.methods import Context


def serialized(
    message: Any, handle: Callable[[Any], Awaitable[Any]]
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """A handler on messages as a handler on bytes."""

    async def handler(body: bytes, context: Context) -> bytes:
        answer: bytes = (await handle(parse(message, body))).SerializeToString()
        return answer

    return handler


def parse(message: Any, body: bytes) -> Any:
    """The message in `body`; raises `InvalidRequest` where it is none."""
    try:
        return message.FromString(body)
    except DecodeError as error:
        raise InvalidRequest(f"malformed {message.DESCRIPTOR.name}: {error}") from None
