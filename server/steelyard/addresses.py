"""Where a server listens: a host and port, or a Unix socket."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_UNIX = "unix:"

# What `sockaddr_un` holds, less the zero at its end.
MAX_UNIX_PATH_BYTES = 107

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    """A name or an IP address, without brackets."""
    port: int
    """0 lets the system choose."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket to listen on."""

    path: Path
    """Absolute, and at most MAX_UNIX_PATH_BYTES long."""

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


def parse_address(text: str) -> Address:
    """The address in `text`: "127.0.0.1:8001", "localhost:8001" or "[::1]:8001". Raises ValueError."""
    host, colon, port_text = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port_text, re.ASCII) or int(port_text) > 65_535:
        raise ValueError("expected HOST:PORT with a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port_text))
        except ValueError:
            raise ValueError("expected an IPv6 address between the brackets") from None
    if not host:
        raise ValueError("expected a host before the port, such as 127.0.0.1, or 0.0.0.0 for every interface")
    if ":" in host:
        raise ValueError("expected an IPv6 address to stand in brackets, as in [::1]:8001")
    if _HOST.fullmatch(host) is None:
        raise ValueError("expected a host name or an IP address before the port")
    return Address(host, int(port_text))


def parse_grpc_address(text: str) -> Address | UnixAddress:
    """As `parse_address`, and "unix:/path/to.sock". Raises ValueError."""
    if not text.startswith(_UNIX):
        return parse_address(text)
    path = text.removeprefix(_UNIX)
    # `Path` drops dots that lead nowhere: what is left of "/." is no socket's.
    if not path.startswith("/") or path.endswith("/") or "\0" in path or Path(path) == Path("/"):
        raise ValueError(
            "expected the absolute path of a socket behind unix:, such as unix:/run/steelyard.sock"
        )
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise ValueError("expected a path behind unix: that can be written in UTF-8") from None
    if size > MAX_UNIX_PATH_BYTES:
        raise ValueError(
            f"expected a path of at most {MAX_UNIX_PATH_BYTES} bytes behind unix:, as the system allows no "
            f"more, and it has {size}"
        )
    return UnixAddress(Path("/" + path.lstrip("/")))


def _address(value: object) -> object:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError("expected text of the form HOST:PORT")
    return parse_address(value)


def _listed(value: object) -> list[object]:
    """The entries of a list, and those of a text with commas between them."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")] if value.strip() else []
    if isinstance(value, list | tuple):
        return list(value)
    raise ValueError("expected text of the form HOST:PORT, or a list of such")


def _addresses(value: object) -> object:
    return tuple(_address(entry) for entry in _listed(value))


def _grpc_addresses(value: object) -> object:
    return tuple(
        parse_grpc_address(entry)
        if isinstance(entry, str)
        else entry
        if isinstance(entry, UnixAddress)
        else _address(entry)
        for entry in _listed(value)
    )


def _spelled(addresses: tuple[Address | UnixAddress, ...]) -> list[str]:
    return [str(address) for address in addresses]


ListenAddress = Annotated[Address, BeforeValidator(_address), PlainSerializer(str)]
ListenAddresses = Annotated[tuple[Address, ...], BeforeValidator(_addresses), PlainSerializer(_spelled)]
GrpcAddresses = Annotated[
    tuple[Address | UnixAddress, ...], BeforeValidator(_grpc_addresses), PlainSerializer(_spelled)
]
"""One or several, as a list or in one text with commas between them."""
