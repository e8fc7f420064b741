"""A signed statement that a model serves until a later day: who says so, why, and what it puts off.

It names the event that has set the day in force, so that it can be used once; the server's log, so that it is of no use
on another server; and the versions that were registered, so that whoever signs has seen what goes on. Signatures are
Ed25519 (RFC 8032) over the statement's bytes as they are.
"""

import base64
import datetime
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steelyard.errors import ConfigError, InvalidRequest
from steelyard.evidence.life import ModelLife

# Format 1 named neither the server nor the versions.
FORMAT = 2

# Some 700 versions; an event, which holds the statement, has room for four times as much.
MAX_STATEMENT_BYTES = 64 << 10

# More keys than an organisation hands out; each is some hundred bytes of PEM.
MAX_KEYS = 100
MAX_KEY_FILE_BYTES = 64 << 10

_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Extension:
    """What is signed."""

    origin: str
    """The name of the transparency log of the server that it is for."""
    model: str
    contents: Mapping[str, str]
    """The content digest of every version that is registered and not retired, by its number in decimal."""
    retire_on: str
    """The new last day, YYYY-MM-DD."""
    before: str
    """The last day that is in force."""
    dated: int
    """The sequence of the event that has set that."""
    actor: str
    reason: str

    def statement(self) -> bytes:
        """JSON in UTF-8, keys sorted, no spaces."""
        fields = {"format": FORMAT, "kind": "retirement.extended", **asdict(self)}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def contents_of(life: ModelLife) -> dict[str, str]:
    """What an extension of a model's service is about: `Extension.contents`."""
    gone = {one.version for one in life.retiring.retirements.values() if one.completed_unix_ms}
    return {str(one.number): one.digest for one in life.versions.values() if one.number not in gone}


def read_statement(statement: bytes) -> Extension:
    """What a statement says. Raises InvalidRequest where it is none, or not in the form that `statement` gives it."""
    if len(statement) > MAX_STATEMENT_BYTES:
        raise InvalidRequest(
            f"expected a statement of at most {MAX_STATEMENT_BYTES} bytes, came {len(statement)}"
        )
    try:
        fields: dict[str, Any] = json.loads(statement)
        if fields.pop("kind") != "retirement.extended":
            raise ValueError("expected a retirement.extended")
        if (form := fields.pop("format")) != FORMAT:
            old = ", which names no server: sign it again with this release" if form == 1 else ""
            raise ValueError(f"expected format {FORMAT}, came {form!r:.20}{old}")
        found = Extension(**fields)
        datetime.date.fromisoformat(found.retire_on)
        if not all(
            isinstance(text, str) for text in (found.origin, *found.contents.keys(), *found.contents.values())
        ):
            raise ValueError("expected texts in origin and contents")
        if found.statement() != statement:
            raise ValueError("expected the canonical form")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidRequest(f"expected a statement that extends a model's service: {error}") from None
    return found


def sign(statement: bytes, key_file: Path) -> bytes:
    """The signature by the private key in a PEM file, not encrypted. Raises ConfigError for what is no Ed25519 key."""
    serialization, ed25519 = _cryptography()
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"{key_file}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{key_file}: expected a private key in PEM, not encrypted: {error}") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"{key_file}: expected an Ed25519 key, came {type(key).__name__}")
    signature: bytes = key.sign(statement)
    return signature


def verify(statement: bytes, signature: bytes, keys_file: Path) -> str:
    """Which of the public keys in a PEM file has signed, as "sha256:" of its 32 bytes.

    Raises InvalidRequest where none of them has, ConfigError where the file holds none that can be used.
    """
    _, ed25519 = _cryptography()
    from cryptography.exceptions import InvalidSignature

    keys = _read_keys(keys_file)
    for raw in keys:
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(signature, statement)
        except InvalidSignature:
            continue
        return f"sha256:{hashlib.sha256(raw).hexdigest()}"
    raise InvalidRequest(
        f"expected a signature by one of the {len(keys)} keys in retirement_keys, came one by none of them"
    )


def encoded(value: bytes) -> str:
    """Base64, as events hold signatures."""
    return base64.b64encode(value).decode()


def _read_keys(path: Path) -> list[bytes]:
    serialization, ed25519 = _cryptography()
    try:
        with path.open("rb") as file:
            text = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"retirement_keys {path}: cannot be read: {error.strerror}") from None
    blocks = _PEM.findall(text[:MAX_KEY_FILE_BYTES])
    if not 0 < len(blocks) <= MAX_KEYS or len(text) > MAX_KEY_FILE_BYTES:
        raise ConfigError(
            f"retirement_keys {path}: expected 1 to {MAX_KEYS} public keys in PEM, in at most {MAX_KEY_FILE_BYTES} "
            f"bytes, came {len(blocks)}"
        )
    keys = []
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block)
        except ValueError as error:
            raise ConfigError(f"retirement_keys {path}: {error}") from None
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise ConfigError(f"retirement_keys {path}: expected Ed25519 keys, came a {type(key).__name__}")
        keys.append(key.public_bytes_raw())
    return keys


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise ConfigError(
            "signatures need the package cryptography, which is not installed: pip install 'steelyard[evidence]'"
        ) from None
    return serialization, ed25519
