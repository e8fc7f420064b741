"""The keys that checkpoints are signed with: made, kept where only their owner can read them, and read again.

A file holds one line, PRIVATE+KEY+NAME+KEY_ID+BASE64, as golang.org/x/mod/sumdb/note writes it; the verifier key, which
is for everybody, lies beside it with the suffix .pub.
"""

import base64
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.errors import EvidenceError
from steelyard.evidence.tiles import replace_file
from steelyard.evidence.verifier import COSIGNATURE, ED25519, Key, VerificationError, is_key_name, read_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LOG_KEY = "keys/log.key"
"""Where the log's key is in a data directory, unless a setting says otherwise."""

_PREFIX = "PRIVATE+KEY+"
# A name, and 33 bytes in base64.
_MAX_KEY_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key, and what signs with it."""

    key: Key
    private: "Ed25519PrivateKey"

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self.private.sign(message)


def make_key(path: Path, kind: int, name: str | None = None) -> PrivateKey:
    """Makes a key, `kind` ED25519 for a log or COSIGNATURE for a witness, and keeps it at `path`.

    name: what it is called; None: after itself. Raises EvidenceError where a file is there already, or cannot be.
    """
    ed25519 = _ed25519()
    if os.path.lexists(path):
        raise EvidenceError(f"{path}: a file is there already")
    private: Ed25519PrivateKey = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    name = name or f"steelyard/{hashlib.sha256(public).hexdigest()[:16]}"
    if not is_key_name(name):
        raise EvidenceError(f"expected a key's name without spaces and plus signs, came {name!r}")
    key = Key(name, kind, public)
    secret = base64.b64encode(bytes([kind]) + private.private_bytes_raw()).decode()
    replace_file(path, f"{_PREFIX}{name}+{key.key_id.hex()}+{secret}\n".encode())
    replace_file(public_path(path), f"{key}\n".encode(), 0o644)
    return PrivateKey(key, private)


def load_key(path: Path, kind: int) -> PrivateKey:
    """The key at `path`. Raises EvidenceError where it is missing, is no such key, or others can read or change it."""
    ed25519 = _ed25519()
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            text = file.read(_MAX_KEY_FILE_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        raise EvidenceError(f"{path}: the key is missing") from None
    except OSError as error:
        raise EvidenceError(f"{path}: the key cannot be read: {error.strerror}") from None
    name, _, rest = text.removeprefix(_PREFIX).partition("+")
    key_id, _, secret = rest.partition("+")
    try:
        material = base64.b64decode(secret, validate=True)
    except ValueError:
        material = b""
    wanted = {ED25519: "a log", COSIGNATURE: "a witness"}[kind]
    if not text.startswith(_PREFIX) or len(material) != 33 or material[0] != kind:
        raise EvidenceError(f"{path}: expected the Ed25519 key of {wanted}, {_PREFIX}NAME+KEY_ID+BASE64")
    private: Ed25519PrivateKey = ed25519.Ed25519PrivateKey.from_private_bytes(material[1:])
    key = Key(name, kind, private.public_key().public_bytes_raw())
    if key.key_id.hex() != key_id:
        raise EvidenceError(
            f"{path}: damaged: the key id is {key.key_id.hex()}, and {key_id[:16]!r} stands there"
        )
    return PrivateKey(key, private)


def public_path(path: Path) -> Path:
    """Where the verifier key of the key at `path` is."""
    return path.with_name(f"{path.name}.pub")


def read_public(path: Path) -> Key:
    """The verifier key in a file. Raises EvidenceError."""
    try:
        with path.open("rb") as file:
            return read_key(file.read(_MAX_KEY_FILE_BYTES).decode("utf-8", "replace"))
    except OSError as error:
        raise EvidenceError(f"{path}: the verifier key cannot be read: {error.strerror}") from None
    except VerificationError as error:
        raise EvidenceError(f"{path}: {error}") from None


def _check_owner(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise EvidenceError(f"{path}: expected a file that holds a key")
    if status.st_uid not in (os.geteuid(), 0):
        raise EvidenceError(
            f"{path}: expected a key that belongs to user {os.geteuid()}, who runs this, came one of {status.st_uid}"
        )
    # Root's key in a container is often shown to its reader by a group, and by nothing more.
    if status.st_mode & 0o077:
        raise EvidenceError(
            f"{path}: expected a key that only its owner can read (mode 0600), came {status.st_mode & 0o777:04o}"
        )


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise EvidenceError(
            "signing needs the package cryptography: pip install 'steelyard[evidence]'"
        ) from None
    return ed25519
