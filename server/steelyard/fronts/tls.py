"""TLS of a front: its certificate and key, and whose clients it answers."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from steelyard.errors import ConfigError

# A certificate with everything above it has a few kilobytes, all authorities that a system trusts have 250.
MAX_PEM_BYTES = 4 << 20

# What HTTP/2 asks of TLS 1.2: a key exchange that keeps recorded traffic secret, and authenticated encryption.
_CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"

ALPN = "h2"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; each method raises `ConfigError` where one cannot be used."""

    certificate: Path
    key: Path
    client_ca: Path | None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 at least, HTTP/2 alone; with `client_ca`, for clients alone that show a certificate by it."""
        self.read_certificate()
        self.read_key()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS_1_2)
        context.set_alpn_protocols([ALPN])
        context.options |= ssl.OP_NO_RENEGOTIATION
        try:
            context.load_cert_chain(self.certificate, self.key, self._no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                problem = "is not the key of this certificate"
            else:
                problem = f"cannot be used: {error.reason or error}"
            raise ConfigError(f"tls_certificate {self.certificate}, tls_key {self.key}: {problem}") from None
        authorities = self.read_client_ca()
        if authorities is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(cadata=authorities.decode("ascii", "ignore"))
            except (ssl.SSLError, ValueError):
                raise ConfigError(
                    f"tls_client_ca {self.client_ca}: expected certificates in PEM, and there is none"
                ) from None
        return context

    def read_certificate(self) -> bytes:
        """The server's certificate, and those above it."""
        return _read("tls_certificate", self.certificate)

    def read_key(self) -> bytes:
        """The server's key."""
        return _read("tls_key", self.key)

    def read_client_ca(self) -> bytes | None:
        """The authorities of clients, None where clients show no certificate."""
        return None if self.client_ca is None else _read("tls_client_ca", self.client_ca)

    def _no_password(self) -> NoReturn:
        raise ConfigError(f"tls_key {self.key}: is encrypted, and there is nobody to ask for its password")


class ServedTls:
    """The files as they are served."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises `ConfigError` where a file cannot be used."""
        self.files = files
        self.context = files.context()
        """Of the handshakes that begin now."""


def _read(setting: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            found = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{setting} {path}: cannot be read: {error.strerror or error}") from None
    if len(found) > MAX_PEM_BYTES:
        raise ConfigError(f"{setting} {path}: expected at most {MAX_PEM_BYTES} bytes of PEM, got more")
    return found
