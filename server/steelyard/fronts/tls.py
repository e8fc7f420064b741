"""TLS of a front: its certificate and key, and whose clients it answers."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from steelyard.errors import ConfigError
from steelyard.observe.logs import log

# A certificate with everything above it has a few kilobytes, all authorities that a system trusts have 250.
MAX_PEM_BYTES = 4 << 20

# What HTTP/2 asks of TLS 1.2: a key exchange that keeps recorded traffic secret, and authenticated encryption.
_CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"

ALPN = "h2"

Stamp = tuple[int, int, int]
"""When a file was written to, its length, and which file it is."""


@dataclass(frozen=True, slots=True)
class Papers:
    """What a handshake is held with: the context, and the PEM that it was made of."""

    context: ssl.SSLContext
    key: bytes
    certificate: bytes
    client_ca: bytes | None


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

    def papers(self) -> Papers:
        """What the files hold now."""
        return Papers(self.context(), self.read_key(), self.read_certificate(), self.read_client_ca())

    def stamps(self) -> tuple[Stamp | None, ...]:
        """Of the files: other ones where one was written to or replaced, None for one that is not there."""
        return tuple(_stamp(path) for path in (self.certificate, self.key, self.client_ca) if path)

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
    """The files as they are served: those that were good the last time that they had changed."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises `ConfigError` where a file cannot be used."""
        self._files = files
        self._seen = self._tried = files.stamps()
        self.papers = files.papers()
        """Of the handshakes that begin now."""

    def look(self) -> bool | None:
        """Takes files that have changed: whether they could be used, None where there was nothing to take.

        They are read when they look as they did the last time: who replaces a certificate and its key writes two files,
        and each of them in pieces.
        """
        before, self._seen = self._seen, self._files.stamps()
        if self._seen != before or self._seen == self._tried:
            return None
        self._tried = self._seen
        try:
            self.papers = self._files.papers()
        except ConfigError as error:
            log("tls.refused", level=logging.ERROR, reason=str(error))
            return False
        log("tls.taken", certificate=str(self._files.certificate))
        return True


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(setting: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            found = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{setting} {path}: cannot be read: {error.strerror or error}") from None
    if len(found) > MAX_PEM_BYTES:
        raise ConfigError(f"{setting} {path}: expected at most {MAX_PEM_BYTES} bytes of PEM, got more")
    return found
