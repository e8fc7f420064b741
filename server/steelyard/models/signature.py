"""Who signed a version: OpenSSF model signatures, verified without any network.

The format is that of model-signing 1.x with a key or a certificate: a Sigstore bundle (JSON) that holds a DSSE envelope
around an in-toto statement, which lists every file with its SHA-256. Signatures by way of the public Sigstore service,
which need its servers, are refused.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.errors import ConfigError, LoadFailed
from steelyard.models.digest import GOLDEN_DIRECTORY, SIGNATURE_SUFFIX

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate

SIGNATURE_FILE = "model.sig"

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"

# A line of some hundred bytes for each of the files that a version may have, in base64.
MAX_SIGNATURE_BYTES = 16 << 20
# A list of public keys or certificates.
_MAX_SIGNERS_BYTES = 1 << 20
# A chain from a signer's certificate to one that is trusted.
_MAX_CHAIN = 8

# What signers leave out unless they are told otherwise, and a version never needs.
_UNSIGNED = frozenset({".git", ".github", ".gitignore", ".gitattributes"})

_BITS_TO_HASH = {256: "SHA256", 384: "SHA384", 521: "SHA512"}


@dataclass(frozen=True, slots=True)
class Signers:
    """Who may sign: keys by their file's name, and certificates that signers' own are issued by."""

    keys: "Mapping[str, EllipticCurvePublicKey]" = field(default_factory=dict)
    issuers: "tuple[Certificate, ...]" = ()


def read_signers(path: Path) -> Signers:
    """The public keys and certificates in the PEM files of a directory, or in one file. Raises ConfigError."""
    serialization, x509, ec = _cryptography()
    keys: dict[str, EllipticCurvePublicKey] = {}
    issuers: list[Certificate] = []
    try:
        files = sorted(path.glob("*.pem")) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as stream:
                content = stream.read(_MAX_SIGNERS_BYTES + 1)
            if len(content) > _MAX_SIGNERS_BYTES:
                raise ConfigError(f"model_signers {file}: expected at most {_MAX_SIGNERS_BYTES} bytes")
            try:
                if b"BEGIN CERTIFICATE" in content:
                    issuers += x509.load_pem_x509_certificates(content)
                    continue
                key = serialization.load_pem_public_key(content)
            except ValueError as error:
                raise ConfigError(
                    f"model_signers {file}: expected a public key or certificates, PEM: {error}"
                ) from None
            if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.key_size not in _BITS_TO_HASH:
                raise ConfigError(f"model_signers {file}: expected a key on the curve P-256, P-384 or P-521")
            keys[file.stem] = key
    except OSError as error:
        raise ConfigError(f"model_signers {path}: cannot be read: {error.strerror}") from None
    if not keys and not issuers:
        raise ConfigError(f"model_signers {path}: expected public keys or certificates, found no .pem file")
    return Signers(keys, tuple(issuers))


def signer_of(path: Path, files: Mapping[str, str], signers: Signers) -> str | None:
    """Who signed the version in the directory `path`: the name of a key's file, or the subject of a certificate.

    files: SHA-256 in hexadecimal of each file that its content digest is made over. None where there is no signature.
    Raises LoadFailed where there is one that none of `signers` made, or that is not about exactly these files.
    """
    try:
        with (path / SIGNATURE_FILE).open("rb") as stream:
            content = stream.read(MAX_SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LoadFailed(f"{SIGNATURE_FILE}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_SIGNATURE_BYTES:
        raise LoadFailed(f"{SIGNATURE_FILE}: expected at most {MAX_SIGNATURE_BYTES} bytes")
    try:
        bundle = json.loads(content)
        envelope, material = bundle["dsseEnvelope"], bundle["verificationMaterial"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        payload_type = envelope["payloadType"]
        chain = [
            base64.b64decode(one["rawBytes"], validate=True)
            for one in material.get("x509CertificateChain", {}).get("certificates", [])
        ]
        is_keyed = "publicKey" in material
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise LoadFailed(f"{SIGNATURE_FILE}: expected a signature by model-signing: {error!r:.200}") from None
    if payload_type != _PAYLOAD_TYPE:
        raise LoadFailed(
            f"{SIGNATURE_FILE}: expected a payload of {_PAYLOAD_TYPE}, came {payload_type!r:.80}"
        )
    message = b"DSSEv1 %d %b %d %b" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)
    if chain:
        signer = _signer_by_certificate(chain, signers, signature, message)
    elif is_keyed:
        signer = _signer_by_key(signers, signature, message)
    else:
        raise LoadFailed(
            f"{SIGNATURE_FILE}: expected a signature by a key or a certificate, came another kind"
        )
    _check_files(payload, files)
    return signer


def _signer_by_key(signers: Signers, signature: bytes, message: bytes) -> str:
    for name, key in signers.keys.items():
        if _is_signed(key, signature, message):
            return name
    known = ", ".join(signers.keys) or "none"
    raise LoadFailed(f"{SIGNATURE_FILE}: signed by none of the keys that are trusted ({known}), or changed")


def _signer_by_certificate(chain: list[bytes], signers: Signers, signature: bytes, message: bytes) -> str:
    _, x509, ec = _cryptography()
    from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

    if len(chain) > _MAX_CHAIN:
        raise LoadFailed(f"{SIGNATURE_FILE}: expected at most {_MAX_CHAIN} certificates, came {len(chain)}")
    if not signers.issuers:
        raise LoadFailed(
            f"{SIGNATURE_FILE}: signed with a certificate, and no issuer of certificates is trusted"
        )
    try:
        leaf, *between = [x509.load_der_x509_certificate(one) for one in chain]
        # Nothing in the file says when it was signed, so the chain is verified at the first moment at which it could
        # have been, as model-signing does: a signature outlives its certificate.
        policy = (
            PolicyBuilder()
            .store(Store(list(signers.issuers)))
            .time(leaf.not_valid_before_utc)
            .extension_policies(
                ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
            )
        )
        policy.build_client_verifier().verify(leaf, between)
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except (VerificationError, x509.ExtensionNotFound, ValueError) as error:
        raise LoadFailed(f"{SIGNATURE_FILE}: its certificate is by none that is trusted: {error}") from None
    subject = str(leaf.subject.rfc4514_string())
    if not usage.digital_signature:
        raise LoadFailed(f"{SIGNATURE_FILE}: the certificate of {subject} is not one to sign with")
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not _is_signed(key, signature, message):
        raise LoadFailed(f"{SIGNATURE_FILE}: not signed with the certificate of {subject}, or changed")
    return subject


def _check_files(payload: bytes, files: Mapping[str, str]) -> None:
    """Raises LoadFailed unless the statement lists exactly these files; golden examples may come and go."""
    try:
        statement = json.loads(payload)
        predicate = statement["predicate"]
        method, algorithm = predicate["serialization"]["method"], predicate["serialization"]["hash_type"]
        kinds = statement["_type"], statement["predicateType"]
        signed = {str(one["name"]): str(one["digest"]) for one in predicate["resources"]}
        algorithms = {one["algorithm"] for one in predicate["resources"]}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LoadFailed(f"{SIGNATURE_FILE}: expected a statement by model-signing: {error!r:.200}") from None
    if kinds != (_STATEMENT_TYPE, _PREDICATE_TYPE):
        raise LoadFailed(f"{SIGNATURE_FILE}: expected a statement {_PREDICATE_TYPE}, came {kinds[1]!r:.80}")
    if (method, algorithm) != ("files", "sha256") or algorithms - {"sha256"}:
        raise LoadFailed(
            f"{SIGNATURE_FILE}: expected one SHA-256 for each file, came {method!r:.40} by {algorithm!r:.40}"
        )
    for name, digest in signed.items():
        if name.startswith(f"{GOLDEN_DIRECTORY}/") or name.endswith(SIGNATURE_SUFFIX):
            continue
        if name not in files:
            raise LoadFailed(f"{SIGNATURE_FILE}: {name!r:.200} was signed and is missing")
        if files[name] != digest:
            raise LoadFailed(f"{SIGNATURE_FILE}: {name!r:.200} is not the file that was signed")
    for name in files:
        if name not in signed and name.partition("/")[0] not in _UNSIGNED:
            raise LoadFailed(f"{SIGNATURE_FILE}: {name!r:.200} is not among the files that were signed")


def _is_signed(key: "EllipticCurvePublicKey", signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    algorithm = _BITS_TO_HASH.get(key.curve.key_size)
    if algorithm is None:
        return False
    try:
        key.verify(signature, message, ec.ECDSA(getattr(hashes, algorithm)()))
    except InvalidSignature:
        return False
    return True


def _cryptography() -> tuple[Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise ConfigError(
            "model_signers: signatures need the package cryptography: pip install 'steelyard[evidence]'"
        ) from None
    return serialization, x509, ec
