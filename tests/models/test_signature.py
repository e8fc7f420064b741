"""Who signed a version: signatures that model-signing made, and those that somebody else made or changed."""

import base64
import datetime
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.errors import ConfigError, LoadFailed
from steelyard.models.digest import digest_over, file_digests, version_digest
from steelyard.models.signature import SIGNATURE_FILE, read_signers, signer_of

# Made by `model_signing sign key` and `sign certificate` of model-signing 1.1.1, over one and the same directory.
MADE = Path(__file__).parent / "signed"


def signed_by(path: Path, trusted: Path) -> str | None:
    files = file_digests(path)
    assert digest_over(files) == version_digest(path)
    return signer_of(path, files, read_signers(trusted))


@pytest.fixture
def version(tmp_path: Path) -> Path:
    shutil.copytree(MADE / "version", tmp_path / "1")
    return tmp_path / "1"


def pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class Signing:
    """Signs as model-signing does."""

    def __init__(self, curve: ec.EllipticCurve | None = None) -> None:
        self.key = ec.generate_private_key(curve or ec.SECP256R1())
        self.material: dict[str, Any] = {"publicKey": {"hint": ""}}
        self.algorithm: hashes.HashAlgorithm = {
            256: hashes.SHA256(),
            384: hashes.SHA384(),
            521: hashes.SHA512(),
        }[self.key.curve.key_size]

    def sign(self, path: Path, **changed: Any) -> None:
        resources = [
            {"name": name, "algorithm": "sha256", "digest": digest}
            for name, digest in sorted(file_digests(path).items())
        ]
        predicate = {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": resources,
            **changed,
        }
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": path.name, "digest": {"sha256": "00"}}],
            "predicateType": "https://model_signing/signature/v1.0",
            "predicate": predicate,
        }
        payload = json.dumps(statement).encode()
        kind = "application/vnd.in-toto+json"
        message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
        signature = self.key.sign(message, ec.ECDSA(self.algorithm))
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": kind,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        }
        bundle = {"verificationMaterial": self.material, "dsseEnvelope": envelope}
        (path / SIGNATURE_FILE).write_text(json.dumps(bundle))


def certificate(name: str, key, issuer: str, issuer_key, is_ca: bool) -> x509.Certificate:
    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    begins = datetime.datetime(2024, 1, 1)
    builder = (
        x509.CertificateBuilder(called(issuer), called(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(days=3650 if is_ca else 30))
        .add_extension(x509.BasicConstraints(is_ca, None), True)
        .add_extension(x509.KeyUsage(not is_ca, False, False, False, False, is_ca, is_ca, False, False), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
    )
    return builder.sign(issuer_key, hashes.SHA256())


def in_bundle(*chain: x509.Certificate) -> dict[str, Any]:
    raw = [base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode() for one in chain]
    return {"x509CertificateChain": {"certificates": [{"rawBytes": one} for one in raw]}}


@pytest.mark.parametrize(
    ("signature", "trusted", "signer"),
    [
        ("key.sig", "ann.pem", "ann"),
        ("certificate.sig", "ca.pem", "CN=ann@example.com"),
    ],
)
def test_what_model_signing_has_signed(version: Path, signature: str, trusted: str, signer: str):
    shutil.copy(MADE / signature, version / SIGNATURE_FILE)
    assert signed_by(version, MADE / "trusted" / trusted) == signer
    assert signed_by(version, MADE / "trusted") == signer
    (version / "golden").mkdir()
    (version / "golden" / "one.json").write_text("{}")
    assert signed_by(version, MADE / "trusted") == signer, "examples may be added later"
    other = "ca.pem" if trusted == "ann.pem" else "ann.pem"
    with pytest.raises(LoadFailed, match=r"model\.sig: signed (by none|with a certificate)"):
        signed_by(version, MADE / "trusted" / other)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_signature_or_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    version = tmp_path_factory.mktemp("signed") / "1"
    shutil.copytree(MADE / "version", version)
    shutil.copy(MADE / "key.sig", version / SIGNATURE_FILE)
    path = version / data.draw(st.sampled_from(["model.onnx", "sub/weights.bin", SIGNATURE_FILE]))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        signer = signed_by(version, MADE / "trusted")
    except LoadFailed:
        return
    # What no signature is made over, such as the hint that names a key, or a space between members.
    assert (signer, path.name) == ("ann", SIGNATURE_FILE)
    kept = json.loads((MADE / "key.sig").read_bytes())["dsseEnvelope"]
    assert json.loads(bytes(content))["dsseEnvelope"]["payload"] == kept["payload"]


def test_no_signature(version: Path):
    assert signed_by(version, MADE / "trusted") is None


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name
)
def test_keys_of_every_curve(version: Path, tmp_path: Path, curve: ec.EllipticCurve):
    ben = Signing(curve)
    (tmp_path / "ben.pem").write_bytes(pem(ben.key.public_key()))
    ben.sign(version)
    assert signed_by(version, tmp_path / "ben.pem") == "ben"


def test_every_file_must_be_signed_and_there(version: Path, tmp_path: Path):
    ben = Signing()
    (tmp_path / "ben.pem").write_bytes(pem(ben.key.public_key()))
    ben.sign(version)
    (version / ".gitignore").write_text("x")
    assert signed_by(version, tmp_path / "ben.pem") == "ben"
    (version / "version.toml").write_text("batched = true\n")
    with pytest.raises(LoadFailed, match=r"'version\.toml' is not among the files that were signed"):
        signed_by(version, tmp_path / "ben.pem")
    ben.sign(version)
    (version / "version.toml").unlink()
    with pytest.raises(LoadFailed, match=r"'version\.toml' was signed and is missing"):
        signed_by(version, tmp_path / "ben.pem")
    ben.sign(version, serialization={"method": "shards", "hash_type": "sha256"})
    with pytest.raises(LoadFailed, match="expected one SHA-256 for each file, came 'shards'"):
        signed_by(version, tmp_path / "ben.pem")


def test_whoever_a_trusted_issuer_made_a_certificate_for_is_no_issuer(version: Path, tmp_path: Path):
    ca, ann, eve = (Signing() for _ in range(3))
    root = certificate("Model CA", ca.key, "Model CA", ca.key, True)
    leaf = certificate("ann", ann.key, "Model CA", ca.key, False)
    (tmp_path / "ca.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    ann.material = in_bundle(leaf)
    ann.sign(version)
    assert signed_by(version, tmp_path / "ca.pem") == "CN=ann"
    eve.material = in_bundle(certificate("boss", eve.key, "ann", ann.key, False), leaf)
    eve.sign(version)
    with pytest.raises(LoadFailed, match="its certificate is by none that is trusted"):
        signed_by(version, tmp_path / "ca.pem")
    # A certificate that was made for another, under a signature by one's own key.
    eve.material = in_bundle(leaf)
    eve.sign(version)
    with pytest.raises(LoadFailed, match="not signed with the certificate of CN=ann"):
        signed_by(version, tmp_path / "ca.pem")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"dsseEnvelope": [], "verificationMaterial": {}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_signature_file_of_another_kind(version: Path, content: bytes):
    (version / SIGNATURE_FILE).write_bytes(content)
    with pytest.raises(LoadFailed, match="expected a signature by model-signing"):
        signed_by(version, MADE / "trusted")


def test_signers_that_are_none(tmp_path: Path):
    for content, why in ((None, "cannot be read"), (b"x", "expected a public key or certificates")):
        path = tmp_path / "signers.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=why):
            read_signers(path)
    (tmp_path / "signers.pem").unlink()
    with pytest.raises(ConfigError, match=r"found no \.pem file"):
        read_signers(tmp_path)


def test_the_digest_is_what_it_was(version: Path):
    lines = sorted(
        b"%b\0%b\n" % (name.encode(), hashlib.sha256((version / name).read_bytes()).hexdigest().encode())
        for name in ("model.onnx", "sub/weights.bin")
    )
    assert version_digest(version) == f"sha256:{hashlib.sha256(b''.join(lines)).hexdigest()}"
