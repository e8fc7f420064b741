"""Verifies an audit bundle or a proof, offline: python verifier.py FILE --key KEY [--witness KEY] [--model MODEL] ...

This one file needs Python 3.11 or later and `cryptography`, and nothing of the server that wrote what it verifies;
every bundle holds a copy. Formats: RFC 6962 (trees), C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles
and tlog-proof.
"""

import argparse
import base64
import datetime
import hashlib
import json
import struct
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

TILE_WIDTH = 256

# Types of signature, as signed-note assigns them.
ED25519 = 1
COSIGNATURE = 4

# A checkpoint is some hundred bytes, and signed-note asks for room for 16 signatures; a longer one is another file.
MAX_NOTE_BYTES = 1 << 16
# A tree of 2**64 leaves has 64 levels.
MAX_PATH = 64
# What a proof carries beside its hashes: one record, at most some megabytes.
MAX_PROOF_BYTES = 16 << 20
# The list of what is in a bundle, and one event.
MAX_DOCUMENT_BYTES = 64 << 20
MAX_RECORD_BYTES = 16 << 20

BUNDLE_FORMAT = 1
BUNDLE_FILE = "bundle.json"
CHECKPOINT_FILE = "log/checkpoint"
ENTRIES_DIRECTORY = "log/tile/entries"
KEY_FILE = "log/key.pub"
WITNESS_FILE = "log/witness.pub"
EXPIRED = "segments.expired"
"""The kind of the event that says which sealed segments (details: files) are no longer kept."""


class VerificationError(Exception):
    """What was to be verified is not as it was signed, or is none of the formats above."""


# Trees (RFC 6962, section 2.1).

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """The root over leaf hashes that come one by one; holds one hash a level."""

    def __init__(self) -> None:
        self.size = 0
        self._complete: list[bytes] = []

    def add(self, hashed: bytes) -> None:
        """Puts a leaf hash at the end."""
        ones = self.size
        while ones & 1:
            hashed = node_hash(self._complete.pop(), hashed)
            ones >>= 1
        self._complete.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree hash of all that came."""
        if not self._complete:
            return EMPTY_ROOT
        root = self._complete[-1]
        for left in reversed(self._complete[:-1]):
            root = node_hash(left, root)
        return root


def root_over(hashes: Iterable[bytes]) -> bytes:
    """The Merkle tree hash over leaf hashes."""
    tree = Tree()
    for hashed in hashes:
        tree.add(hashed)
    return tree.root()


def root_by_path(hashed: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root of a tree of `size` that `path` gives for the leaf hash at `index` (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        raise VerificationError(f"expected an index below the tree's size of {size}, came {index}")
    position, last = index, size - 1
    for sibling in path:
        if last == 0:
            raise VerificationError(f"the proof of leaf {index} is longer than the tree is high")
        if position & 1 or position == last:
            hashed = node_hash(sibling, hashed)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            hashed = node_hash(hashed, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise VerificationError(f"the proof of leaf {index} is shorter than the tree is high")
    return hashed


def check_consistency(old: tuple[int, bytes], new: tuple[int, bytes], path: Sequence[bytes]) -> None:
    """Raises VerificationError unless the tree `new`, a size and a root, begins with the tree `old` (RFC 9162, section
    2.1.4.2)."""
    (old_size, old_root), (new_size, new_root) = old, new
    if old_size > new_size:
        raise VerificationError(f"a tree of {new_size} leaves cannot begin with one of {old_size}")
    hashes = list(path)
    if old_size in (0, new_size):
        if (
            hashes
            or (old_size == new_size and old_root != new_root)
            or (not old_size and old_root != EMPTY_ROOT)
        ):
            raise VerificationError(f"the trees of {old_size} and {new_size} leaves are two different ones")
        return
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise VerificationError("the proof of consistency is too short")
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise VerificationError("the proof of consistency is too long")
        if position & 1 or position == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            second = node_hash(second, sibling)
        position >>= 1
        last >>= 1
    if last or first != old_root or second != new_root:
        raise VerificationError(f"the tree of {new_size} leaves does not begin with that of {old_size}")


# Keys and notes (C2SP signed-note, tlog-cosignature).


class Key(NamedTuple):
    """Who signs: a name, the type of signature, and 32 bytes of an Ed25519 public key."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that say which key a signature was made with."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """The verifier key: name, key id and key, joined by plus signs."""
        return (
            f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"
        )


def is_key_name(name: str) -> bool:
    """Whether a key may be called so."""
    return bool(name) and "+" not in name and name.isprintable() and not any(char.isspace() for char in name)


def read_key(text: str) -> Key:
    """The key in a verifier key."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    material = _decoded(encoded, "a verifier key")
    if not is_key_name(name) or len(material) != 33 or material[0] not in (ED25519, COSIGNATURE):
        raise VerificationError(
            f"expected a verifier key, NAME+KEY_ID+BASE64, for Ed25519, came {text[:120]!r}"
        )
    key = Key(name, material[0], material[1:])
    if key.key_id.hex() != key_id:
        raise VerificationError(
            f"verifier key {name}: expected the key id {key.key_id.hex()}, came {key_id[:16]!r}"
        )
    return key


class Signature(NamedTuple):
    """One line under a note."""

    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A text and what was signed under it."""

    text: str
    signatures: tuple[Signature, ...]


def read_note(content: bytes) -> Note:
    """The parts of a signed note; verifies nothing."""
    if len(content) > MAX_NOTE_BYTES:
        raise VerificationError(f"expected a note of at most {MAX_NOTE_BYTES} bytes, came {len(content)}")
    try:
        whole = content.decode()
    except UnicodeDecodeError:
        raise VerificationError("expected a note in UTF-8") from None
    text, blank, signed = whole.rpartition("\n\n")
    if not blank or not signed.endswith("\n") or any(char < " " and char != "\n" for char in whole):
        raise VerificationError("expected a note: text, an empty line, and signatures")
    signatures = []
    for line in signed[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        material = _decoded(encoded, "a signature")
        if dash != "—" or not is_key_name(name) or len(material) < 5:
            raise VerificationError("expected lines of a dash, a name and a signature under a note")
        signatures.append(Signature(name, material[:4], material[4:]))
    return Note(text + "\n", tuple(signatures))


def check_signature(note: Note, key: Key) -> int | None:
    """Verifies the signature of `key` under a note, and gives the time (seconds since the epoch) that a cosignature
    states. None where `key` has not signed; raises VerificationError where its signature is wrong."""
    found = [one for one in note.signatures if (one.name, one.key_id) == (key.name, key.key_id)]
    if not found:
        return None
    stated = 0
    for one in found:
        message, signature = note.text.encode(), one.signature
        if key.kind == COSIGNATURE:
            if len(signature) != 72:
                raise VerificationError(
                    f"the cosignature of {key.name} has {len(signature)} bytes, expected 72"
                )
            (stated,) = struct.unpack(">Q", signature[:8])
            message, signature = cosigned_message(note.text, stated), signature[8:]
        if not _is_signed(key.public, signature, message):
            raise VerificationError(f"the signature of {key.name} is wrong")
    return stated


def cosigned_message(text: str, unix_s: int) -> bytes:
    """What a witness signs of a checkpoint's text."""
    return f"cosignature/v1\ntime {unix_s}\n{text}".encode()


def _is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise VerificationError(
            "signatures need the package cryptography: pip install cryptography"
        ) from None
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _decoded(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise VerificationError(f"expected base64 in {what}, came {text[:80]!r}")
    return raw


# Checkpoints and proofs (C2SP tlog-checkpoint, tlog-proof).


class Checkpoint(NamedTuple):
    """What a log said of its tree: how many leaves it has, and their root."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        """The note's text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def read_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or "" in lines:
        raise VerificationError("expected a checkpoint: origin, size and root in a line each")
    origin, size, root = lines[:3]
    hashed = _decoded(root, "a checkpoint's root")
    if len(hashed) != 32:
        raise VerificationError(f"expected a root of 32 bytes in a checkpoint, came {len(hashed)}")
    return Checkpoint(origin, _number(size, "a checkpoint's size"), hashed)


def open_checkpoint(content: bytes, key: Key, witnesses: Iterable[Key] = ()) -> Checkpoint:
    """The checkpoint in a signed note. Raises VerificationError unless the log and every witness have signed it."""
    note = read_note(content)
    for signer in (key, *witnesses):
        if check_signature(note, signer) is None:
            raise VerificationError(
                f"the checkpoint is not signed by {signer.name} (key {signer.key_id.hex()})"
            )
    checkpoint = read_checkpoint(note.text)
    if checkpoint.origin != key.name:
        raise VerificationError(f"expected a checkpoint of {key.name}, came one of {checkpoint.origin}")
    return checkpoint


PROOF_HEADER = "c2sp.org/tlog-proof@v1"


class Proof(NamedTuple):
    """That an entry is in a log: its index, the hashes from it to the root, and the checkpoint that has the root."""

    extra: bytes
    leaf: int
    path: tuple[bytes, ...]
    checkpoint: bytes

    def __bytes__(self) -> bytes:
        """The file."""
        lines = [PROOF_HEADER]
        if self.extra:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.leaf}")
        lines += [base64.b64encode(hashed).decode() for hashed in self.path]
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint


def read_proof(content: bytes) -> Proof:
    """The proof in a file; verifies nothing."""
    if len(content) > MAX_PROOF_BYTES:
        raise VerificationError(f"expected a proof of at most {MAX_PROOF_BYTES} bytes, came {len(content)}")
    head, blank, checkpoint = content.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        lines = []
    if not blank or lines[:1] != [PROOF_HEADER]:
        raise VerificationError(f"expected a proof, which begins with {PROOF_HEADER}")
    rest = lines[1:]
    extra = b""
    if rest and rest[0].startswith("extra "):
        extra = _decoded(rest.pop(0)[6:], "extra data")
    if not rest or not rest[0].startswith("index "):
        raise VerificationError("expected an index in the proof")
    index = _number(rest.pop(0)[6:], "the proof's index")
    path = tuple(_decoded(line, "a proof's hash") for line in rest[: MAX_PATH + 1])
    if len(rest) > MAX_PATH or any(len(hashed) != 32 for hashed in path):
        raise VerificationError(f"expected at most {MAX_PATH} hashes of 32 bytes in the proof")
    return Proof(extra, index, path, checkpoint)


def check_entry(proof: Proof, entry: bytes, key: Key, witnesses: Iterable[Key] = ()) -> Checkpoint:
    """Raises VerificationError unless `proof` shows that `entry` is in the log that `key` signs."""
    checkpoint = open_checkpoint(proof.checkpoint, key, witnesses)
    if root_by_path(leaf_hash(entry), proof.leaf, checkpoint.size, proof.path) != checkpoint.root:
        raise VerificationError(f"entry {proof.leaf} is not what the log's checkpoint was signed over")
    return checkpoint


class Asked(NamedTuple):
    """What somebody who verifies has asked for; None: anything."""

    model: str | None = None
    from_ns: int | None = None
    """From this time on, nanoseconds since the epoch."""
    to_ns: int | None = None
    """Up to, without, this time."""
    decision: uuid.UUID | None = None


ANYTHING = Asked()


def check_proof(
    content: bytes, key: Key, witnesses: Iterable[Key] = (), asked: Asked = ANYTHING
) -> dict[str, Any]:
    """Verifies a proof of one decision's record or one event, and gives what it proves: the entry, and the record.

    Raises VerificationError also where it proves another decision, or one of another model or time, than was asked for.
    """
    proof = read_proof(content)
    carried = _document(proof.extra, "extra data of the proof")
    entry = _carried(carried, "entry")
    check_entry(proof, entry, key, witnesses)
    said = _document(entry, "the proof's entry")
    record = _carried(carried, "record")
    if said.get("kind") == "event":
        _check_event(said, record)
    elif said.get("kind") != "segment":
        raise VerificationError(f"expected an entry of an event or a segment, came {said.get('kind')!r}")
    else:
        path = [_decoded(text, "a proof's hash") for text in _texts(carried.get("path"))]
        index, count = carried.get("index"), said.get("count")
        if not isinstance(index, int) or not isinstance(count, int):
            raise VerificationError("expected the record's index in its segment")
        root = root_by_path(leaf_hash(record), index, count, path)
        if root.hex() != said.get("root"):
            raise VerificationError(f"the record is not number {index} of the segment {said.get('file')}")
    _check_proven(said, record, asked)
    return {"entry": said, "index": proof.leaf, "record": record}


def _check_proven(said: Mapping[str, Any], record: bytes, asked: Asked) -> None:
    """Raises VerificationError unless what a proof proves is what was asked for."""
    is_event = said.get("kind") == "event"
    if asked.model not in (None, said.get("model")):
        raise VerificationError(
            f"the proof is about model {said.get('model')!r}, asked for was {asked.model!r}"
        )
    if asked.decision is not None and (is_event or decision_of(record) != str(asked.decision)):
        came = f"event {said.get('sequence')}" if is_event else f"decision {decision_of(record)}"
        raise VerificationError(f"the proof is about {came}, asked for was decision {asked.decision}")
    if asked.from_ns is not None or asked.to_ns is not None:
        at_ns = said["unix_ms"] * 1_000_000 if is_event else received_ns(record)
        if at_ns < (asked.from_ns or 0) or (asked.to_ns is not None and at_ns >= asked.to_ns):
            raise VerificationError(
                f"the proof is about {time_text(at_ns)}, which is not in the time asked for"
            )


def _carried(carried: Mapping[str, Any], name: str) -> bytes:
    text = carried.get(name)
    return _decoded(text if isinstance(text, str) else "", f"the proof's {name}")


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_PATH or not all(isinstance(one, str) for one in value):
        raise VerificationError(f"expected a list of at most {MAX_PATH} hashes")
    return value


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or (text[0] == "0" and text != "0") or len(text) > 19:
        raise VerificationError(f"expected a whole number for {what}, came {text[:40]!r}")
    return int(text)


def _document(content: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise VerificationError(f"expected a JSON object in {what}")
    return document


# Tiles (C2SP tlog-tiles).


def tile_name(number: int, width: int = TILE_WIDTH) -> str:
    """The path of a tile or bundle of entries below its level, such as x001/234, or 005.p/17 of a partial one."""
    name = f"{number % 1000:03}"
    while number := number // 1000:
        name = f"x{number % 1000:03}/{name}"
    return name if width == TILE_WIDTH else f"{name}.p/{width}"


def read_entries(content: bytes, width: int) -> list[bytes]:
    """The entries of a bundle that has `width` of them, and may have more."""
    entries: list[bytes] = []
    position = 0
    for _ in range(width):
        if len(content) - position < 2:
            raise VerificationError(f"expected {width} entries, came {len(entries)}")
        length = int.from_bytes(content[position : position + 2], "big")
        position += 2
        if len(content) - position < length:
            raise VerificationError(f"entry {len(entries)} of the bundle is cut short")
        entries.append(content[position : position + length])
        position += length
    return entries


# What a bundle may hold that the log says nothing of; bundle.json has the digests, and nobody has signed that.
UNSIGNED = ("README.txt", "verifier.py", "manifests/")


# Bundles.


class Report(NamedTuple):
    """What a bundle was found to hold."""

    checkpoint: Checkpoint
    model: str
    from_ns: int
    to_ns: int
    """The time that it is about, as bundle.json says: nobody has signed that."""
    events: int
    segments: int
    records: int
    expired: int
    logged_ns: int
    """Of the last event or decision that the log has, of whatever model; 0: it has none."""


def check_bundle(
    bundle: zipfile.ZipFile, key: Key, witnesses: Iterable[Key] = (), asked: Asked = ANYTHING
) -> Report:
    """Raises VerificationError unless the bundle holds, unchanged, every event and every sealed segment that the log
    has of its model and time, and is about the model, all of the time and the decision that were asked for."""
    files = {info.filename: info for info in bundle.infolist()}
    if len(files) != len(bundle.infolist()):
        raise VerificationError("the bundle holds two files of one name")
    vouched = {BUNDLE_FILE, CHECKPOINT_FILE, KEY_FILE}

    def read(name: str, most: int = MAX_DOCUMENT_BYTES) -> bytes:
        if name not in files:
            raise VerificationError(f"{name}: missing in the bundle")
        vouched.add(name)
        if files[name].file_size > most:
            raise VerificationError(f"{name}: expected at most {most} bytes, came {files[name].file_size}")
        try:
            return bundle.read(name)
        except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
            raise VerificationError(f"{name}: damaged: {error}") from None
        except Exception as error:  # zlib.error
            raise VerificationError(f"{name}: damaged: {error}") from None

    about = _document(read(BUNDLE_FILE), BUNDLE_FILE)
    if about.get("format") != BUNDLE_FORMAT:
        raise VerificationError(f"expected a bundle of format {BUNDLE_FORMAT}, came {about.get('format')!r}")
    model, from_ns, to_ns = about.get("model"), about.get("from_ns"), about.get("to_ns")
    if not isinstance(model, str) or not isinstance(from_ns, int) or not isinstance(to_ns, int):
        raise VerificationError(f"expected model, from_ns and to_ns in {BUNDLE_FILE}")
    _check_about(model, from_ns, to_ns, asked)
    checkpoint = open_checkpoint(read(CHECKPOINT_FILE, MAX_NOTE_BYTES), key, witnesses)
    tree = Tree()
    entries = list(_entries(checkpoint.size, read))
    for _, entry in entries:
        tree.add(leaf_hash(entry))
    if tree.root() != checkpoint.root:
        raise VerificationError("the entries in the bundle are not those that the checkpoint was signed over")
    events: list[tuple[int, dict[str, Any]]] = []
    segments: list[tuple[int, dict[str, Any]]] = []
    logged_ns = 0
    for index, entry in entries:
        said = _document(entry, f"entry {index} of the log")
        at_ns = said["last_ns"] if said.get("kind") == "segment" else said.get("unix_ms", 0) * 1_000_000
        logged_ns = max(logged_ns, at_ns)
        if is_event_of(said, model):
            events.append((index, said))
        elif is_segment_of(said, model, from_ns, to_ns):
            segments.append((index, said))
    expired: set[str] = set()
    for _, said in events:
        name = f"events/{said['sequence']}.json"
        event = _check_event(said, read(name, MAX_RECORD_BYTES), name)
        if event.get("kind") == EXPIRED:
            expired.update(map(str, event["details"]["files"]))
    gone = records = 0
    found = asked.decision is None

    def watched(read: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal found
        for record in read:
            found = found or decision_of(record) == str(asked.decision)
            yield record

    for index, said in segments:
        name = f"segments/{index}.records"
        if name not in files and said.get("file") in expired:
            gone += 1
            continue
        if name not in files:
            raise VerificationError(f"{name}: missing in the bundle (sealed segment {said.get('file')})")
        with bundle.open(name) as stream:
            records += check_segment(said, watched(read_records(stream, name)), name)
        vouched.add(name)
    if not found:
        raise VerificationError(f"decision {asked.decision} is in none of the bundle's segments")
    given = about.get("files")
    if not isinstance(given, dict):
        raise VerificationError(f"expected the digests of files in {BUNDLE_FILE}")
    for name, digest in sorted(given.items()):
        if not name.startswith(UNSIGNED):
            raise VerificationError(f"{name}: is in the bundle, and nothing vouches for it")
        if hashlib.sha256(read(name)).hexdigest() != digest:
            raise VerificationError(f"{name}: is not the file that was put into the bundle")
    for name in files:
        if name not in vouched:
            raise VerificationError(f"{name}: is in the bundle, and nothing vouches for it")
    kept = len(segments) - gone
    return Report(checkpoint, model, from_ns, to_ns, len(events), kept, records, gone, logged_ns)


def _check_about(model: str, from_ns: int, to_ns: int, asked: Asked) -> None:
    """Raises VerificationError unless a bundle of this model and time has all that was asked for."""
    if asked.model not in (None, model):
        raise VerificationError(f"the bundle is about model {model!r}, asked for was {asked.model!r}")
    if asked.from_ns is not None and asked.from_ns < from_ns:
        raise VerificationError(
            f"the bundle begins at {time_text(from_ns)}, asked for was {time_text(asked.from_ns)}"
        )
    if asked.to_ns is not None and asked.to_ns > to_ns:
        raise VerificationError(
            f"the bundle ends at {time_text(to_ns)}, asked for was {time_text(asked.to_ns)}"
        )


def is_event_of(said: Mapping[str, Any], model: str) -> bool:
    """Whether an entry is an event of `model` or of the whole server. Of all time: what happened later may be that
    segments are no longer kept."""
    return said.get("kind") == "event" and said.get("model") in ("", model)


def is_segment_of(said: Mapping[str, Any], model: str, from_ns: int, to_ns: int) -> bool:
    """Whether an entry is a sealed segment of `model` with records between `from_ns` and `to_ns`."""
    return (
        said.get("kind") == "segment"
        and said.get("model") == model
        and said["first_ns"] < to_ns
        and said["last_ns"] >= from_ns
    )


def _entries(size: int, read: Callable[[str], bytes]) -> Iterator[tuple[int, bytes]]:
    for number in range(-(-size // TILE_WIDTH)):
        width = min(TILE_WIDTH, size - number * TILE_WIDTH)
        content = read(f"{ENTRIES_DIRECTORY}/{tile_name(number, width)}")
        for offset, entry in enumerate(read_entries(content, width)):
            yield number * TILE_WIDTH + offset, entry


def _check_event(said: Mapping[str, Any], record: bytes, where: str = "the event") -> dict[str, Any]:
    if hashlib.sha256(record).hexdigest() != said.get("sha256"):
        raise VerificationError(f"{where}: is not the event {said.get('sequence')} that was logged")
    return _document(record, where)


def check_segment(said: Mapping[str, Any], records: Iterable[bytes], where: str) -> int:
    """How many records a segment has. Raises VerificationError unless they are those that its entry was made over."""
    root = Tree()
    for record in records:
        root.add(leaf_hash(record))
    if (root.size, root.root().hex()) != (said.get("count"), said.get("root")):
        raise VerificationError(
            f"{where}: {root.size} records are not the {said.get('count')} of the sealed segment {said.get('file')}"
        )
    return root.size


def read_records(stream: IO[bytes], where: str) -> Iterator[bytes]:
    """The records in a file of a bundle: each behind its length, four bytes, most significant first."""
    while head := _read(stream, 4, where):
        length = int.from_bytes(head, "big")
        if len(head) < 4 or length > MAX_RECORD_BYTES:
            raise VerificationError(f"{where}: expected a record's length, at most {MAX_RECORD_BYTES}")
        record = _read(stream, length, where)
        if len(record) < length:
            raise VerificationError(f"{where}: the last record is cut short")
        yield record


def _read(stream: IO[bytes], length: int, where: str) -> bytes:
    try:
        return stream.read(length)
    except Exception as error:  # BadZipFile of a wrong checksum, zlib.error
        raise VerificationError(f"{where}: damaged: {error}") from None


# Records and times.


def decision_of(record: bytes) -> str:
    """The decision id in a canonical record: 16 bytes from the ninth."""
    return str(uuid.UUID(bytes=record[8:24])) if len(record) >= 24 else "unknown"


def received_ns(record: bytes) -> int:
    """When a decision's request came, nanoseconds since the epoch: 8 bytes from the 25th, little-endian."""
    if len(record) < 32:
        raise VerificationError(f"expected a decision's record, came {len(record)} bytes")
    return int.from_bytes(record[24:32], "little")


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def unix_ns(text: str) -> int:
    """A time by RFC 3339, or a date, in UTC unless it says otherwise, as nanoseconds since the epoch.

    Raises ValueError for what is neither.
    """
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return (moment - _EPOCH) // datetime.timedelta(microseconds=1) * 1000


def time_text(unix_ns: int) -> str:
    """A moment to the second, as RFC 3339."""
    try:
        moment = datetime.datetime.fromtimestamp(unix_ns // 10**9, datetime.UTC)
    except (OverflowError, OSError, ValueError):
        return f"{unix_ns} ns since 1970"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# The command.

VERIFIED = "verified"
CONSISTENT = "consistent; signer unknown"
"""All of it is as the holder of some key signed it, and nobody has said whose key it must be."""
WRONG = "wrong"

# Also those of `steelyard audit verify`; 2 is wrong usage, as everywhere.
EXIT_CODES = {VERIFIED: 0, WRONG: 1, CONSISTENT: 3}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Verifies an audit bundle or a proof, offline.",
        epilog="Ends with 0: verified; 1: wrong, or not what was asked for; 2: wrong usage; 3: consistent, and the "
        "signer unknown, as no --key was given.",
    )
    parser.add_argument("file", help="a bundle (.zip) or a proof (.tlog-proof)")
    parser.add_argument("--key", help="the log's verifier key, as you got it from its owner")
    parser.add_argument(
        "--witness", action="append", default=[], help="a witness's verifier key, who must have signed"
    )
    parser.add_argument("--model", help="the model that it must be about")
    parser.add_argument(
        "--from",
        dest="from_ns",
        type=unix_ns,
        metavar="TIME",
        help="a bundle must have all from this time on, a proof must be of it or later (RFC 3339, or a date in UTC)",
    )
    parser.add_argument("--to", dest="to_ns", type=unix_ns, metavar="TIME", help="the same, up to this time")
    parser.add_argument(
        "--decision", type=uuid.UUID, metavar="ID", help="the decision that it must be about, or hold"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    return parser


def _verify_bundle(path: str, key: Key | None, witnesses: Sequence[Key], asked: Asked) -> dict[str, Any]:
    with zipfile.ZipFile(path) as bundle:
        used = key or read_key(bundle.read(KEY_FILE).decode())
        report = check_bundle(bundle, used, witnesses, asked)
    return {
        "outcome": CONSISTENT if key is None else VERIFIED,
        "key": str(used),
        "model": report.model,
        "from": time_text(report.from_ns),
        "to": time_text(report.to_ns),
        "logged_until": time_text(report.logged_ns),
        "log_entries": report.checkpoint.size,
        "events": report.events,
        "segments": report.segments,
        "records": report.records,
        "expired": report.expired,
    }


def _verify_proof(path: str, key: Key, witnesses: Sequence[Key], asked: Asked) -> dict[str, Any]:
    with open(path, "rb") as file:
        content = file.read(MAX_PROOF_BYTES + 1)
    proven = check_proof(content, key, witnesses, asked)
    record: bytes = proven["record"]
    about = {"index": proven["index"], "entry": proven["entry"]}
    if proven["entry"]["kind"] == "segment":
        about["decision"] = decision_of(record)
    digest = hashlib.sha256(record).hexdigest()
    return {
        "outcome": VERIFIED,
        "key": str(key),
        **about,
        "record_bytes": len(record),
        "record_sha256": digest,
    }


def _print(found: Mapping[str, Any], asked: Asked) -> None:
    if "entry" in found:
        print(
            f"{found['outcome']}: entry {found['index']} of the log, {json.dumps(found['entry'], sort_keys=True)}"
        )
        if "decision" in found:
            print(f"decision {found['decision']}" + _question(asked.decision))
        print(f"record, {found['record_bytes']} bytes, SHA-256 {found['record_sha256']}")
    else:
        print(
            f"{found['outcome']}: {found['events']} events and {found['records']} records in {found['segments']} "
            f"segments of model {found['model']!r}, complete in a log of {found['log_entries']} entries"
        )
        is_asked = asked.model is not None and asked.from_ns is not None and asked.to_ns is not None
        print(f"decisions from {found['from']} up to {found['to']}" + _question(is_asked or None))
        print(
            f"the log's last event or decision is of {found['logged_until']}: what was logged later is not in it"
        )
        print("manifests: as they were put in; nobody has signed them")
        if found["expired"]:
            print(f"{found['expired']} segments are no longer kept, which an event says")
    print(f"signed by {found['key']}")
    if found["outcome"] == CONSISTENT:
        print("the key is the bundle's own, so anybody may have signed: give the one that you have by --key")


def _question(asked: object) -> str:
    return "" if asked is not None else ": is that what you asked for?"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what was verified, or what is wrong, and gives the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    asked = Asked(options.model, options.from_ns, options.to_ns, options.decision)
    found: dict[str, Any]
    try:
        witnesses = [read_key(text) for text in options.witness]
        key = read_key(options.key) if options.key is not None else None
    except VerificationError as error:
        parser.error(str(error))
    try:
        if zipfile.is_zipfile(options.file):
            found = _verify_bundle(options.file, key, witnesses, asked)
        elif key is None:
            parser.error("--key: expected the log's verifier key, as a proof does not hold it")
        else:
            found = _verify_proof(options.file, key, witnesses, asked)
    except VerificationError as error:
        found = {"outcome": WRONG, "problem": str(error)}
    except (OSError, KeyError, TypeError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        found = {"outcome": WRONG, "problem": f"{options.file}: cannot be read: {error}"}
    if options.json:
        print(json.dumps(found, sort_keys=True))
    elif found["outcome"] == WRONG:
        print(f"WRONG: {found['problem']}", file=sys.stderr)
    else:
        _print(found, asked)
    return EXIT_CODES[found["outcome"]]


if __name__ == "__main__":
    sys.exit(main())
