"""Where a server is: an address as callers write it, and how to encrypt the way there."""

import ssl
from dataclasses import dataclass
from os import PathLike

from steelyard.errors import ConfigError

UNIX = "unix:"
ALPN = "h2"

NO_ALPN = (
    "the server does not speak h2 (ALPN), or was not asked for it: a context that tls_context has not made needs "
    'set_alpn_protocols(["h2"])'
)
"""What is said of a connection whose TLS has not agreed on HTTP/2. A context that comes from the caller may be in use
elsewhere, and cannot be copied: it is left as it is."""


@dataclass(frozen=True, slots=True)
class Target:
    """A TCP port of a host, or a Unix socket."""

    host: str
    """Empty for a Unix socket."""
    port: int
    path: str
    """The Unix socket's; else empty."""
    authority: str
    """What HTTP/2 calls the server."""


def parse_target(address: str) -> Target:
    """The target in "host:port", "[::1]:port" or "unix:/path". Raises ConfigError."""
    if address.startswith(UNIX):
        path = address.removeprefix(UNIX)
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path or "\0" in path:
            raise ConfigError(f"address {address!r}: expected unix:/path")
        return Target("", 0, path, "localhost")
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if (
        not colon
        or not host.strip("[]")
        or (":" in host and not bracketed)
        or not host.isascii()
        or any(character <= " " for character in host)
        or not _is_name(host.strip("[]"))
        or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536)
    ):
        raise ConfigError(f"address {address!r}: expected host:port, [address]:port or unix:/path")
    return Target(host[1:-1] if bracketed else host, int(port), "", address)


def _is_name(host: str) -> bool:
    """Whether the system can be asked for it: no part between two points is empty or longer than 63 characters."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def tls_context(
    ca: str | PathLike[str] | None = None,
    certificate: str | PathLike[str] | None = None,
    key: str | PathLike[str] | None = None,
) -> ssl.SSLContext:
    """How to reach a server that speaks TLS.

    ca: a PEM file with the certificates to trust; None: those that the system trusts. certificate, key: PEM files of
    the client's own, where the server asks for one. Raises ConfigError where they cannot be read or do not fit.

    It asks for HTTP/2 alone: not for use with a library that speaks HTTP/1.1.
    """
    if (certificate is None) != (key is None):
        raise ConfigError("certificate and key: expected both or none")
    try:
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols([ALPN])
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigError(f"TLS files (ca {ca}, certificate {certificate}, key {key}): {error}") from None
    return context
