"""A bundle for auditors: the records, events and manifests of a model, what proves them, and the program that verifies.

A zip file. `log/` holds the log's checkpoint, its verifier key and every entry, so that whoever verifies sees that
nothing of the model was left out; `events/` and `segments/` hold the records that the entries stand for.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from steelyard.errors import EvidenceError
from steelyard.evidence.event import Event
from steelyard.evidence.segments import SEALED_DIRECTORY, SealedSegments, file_digest
from steelyard.evidence.tlog import LogReader
from steelyard.evidence.verifier import (
    BUNDLE_FILE,
    BUNDLE_FORMAT,
    CHECKPOINT_FILE,
    ENTRIES_DIRECTORY,
    EXPIRED,
    KEY_FILE,
    TILE_WIDTH,
    VerificationError,
    check_segment,
    is_event_of,
    is_segment_of,
    open_checkpoint,
    tile_name,
)

README = """This is an audit bundle. Unpack the verifier, and let it verify the bundle, offline:

    unzip -j {name} verifier.py
    pip install cryptography
    python verifier.py {name} --key KEY --model MODEL --from TIME --to TIME

KEY is the verifier key of the log, which you should have from its owner by another way than this file. The one in
log/key.pub is that of whoever made the bundle. MODEL and TIME are what you asked for.

events/      governance events of the model and of its server, canonical JSON, as they were logged
segments/    decision records, each behind its length (four bytes, most significant first)
manifests/   model.toml and version.toml as they were when the bundle was made; no signature stands for them
log/         the log's checkpoint, key and entries (C2SP tlog-checkpoint, tlog-tiles)
bundle.json  what the bundle is about, and the SHA-256 of its other files
"""


@dataclass(frozen=True, slots=True)
class Bundled:
    """What was put into a bundle."""

    model: str
    events: int
    segments: int
    records: int
    expired: int
    bytes: int


def write_bundle(
    path: Path,
    data: Path,
    log: LogReader,
    segments: SealedSegments,
    events: Sequence[Event],
    manifests: dict[str, bytes],
    model: str,
    from_ns: int,
    to_ns: int,
) -> Bundled:
    """Writes the bundle of `model` to `path`: its sealed segments with decisions from `from_ns` up to, without,
    `to_ns`, nanoseconds since the epoch, and every event of it and of the server.

    events: all of the data directory. manifests: by path below `manifests/`.
    Raises EvidenceError where something is not what was logged, or the file cannot be written.
    """
    note = log.note()
    try:
        checkpoint = open_checkpoint(note, log.key)
    except VerificationError as error:
        raise EvidenceError(f"{log.directory}: {error}") from None
    by_sequence = {event.sequence: event for event in events}
    expired = {
        str(file) for event in events if event.kind == EXPIRED for file in event.details.get("files", ())
    }
    counts = {"events": 0, "segments": 0, "records": 0, "expired": 0}
    plain: dict[str, bytes] = {
        "README.txt": README.format(name=path.name).encode(),
        "verifier.py": resources.files("steelyard.evidence").joinpath("verifier.py").read_bytes(),
        **{f"manifests/{name}": content for name, content in manifests.items()},
    }
    try:
        with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr(CHECKPOINT_FILE, note)
            bundle.writestr(KEY_FILE, f"{log.key}\n")
            for number in range(-(-checkpoint.size // TILE_WIDTH)):
                width = min(TILE_WIDTH, checkpoint.size - number * TILE_WIDTH)
                packed = log.tiles.bundle(number, width)
                content = b"".join(len(entry).to_bytes(2, "big") + entry for entry in packed)
                bundle.writestr(f"{ENTRIES_DIRECTORY}/{tile_name(number, width)}", content)
                for offset, entry in enumerate(packed):
                    said = json.loads(entry)
                    if is_event_of(said, model):
                        event = by_sequence.get(said["sequence"])
                        if event is None:
                            raise EvidenceError(
                                f"event {said['sequence']} is in the log, and its record is missing"
                            )
                        bundle.writestr(f"events/{event.sequence}.json", event.record())
                        counts["events"] += 1
                    elif is_segment_of(said, model, from_ns, to_ns):
                        if said["file"] in expired and not (data / SEALED_DIRECTORY / said["file"]).exists():
                            counts["expired"] += 1
                            continue
                        _check_file(data, said)
                        name = f"segments/{number * TILE_WIDTH + offset}.records"
                        counts["records"] += _write_records(bundle, name, said, segments)
                        counts["segments"] += 1
            for name, content in plain.items():
                bundle.writestr(name, content)
            about = {
                "format": BUNDLE_FORMAT,
                "model": model,
                "from_ns": from_ns,
                "to_ns": to_ns,
                "files": {name: hashlib.sha256(content).hexdigest() for name, content in plain.items()},
            }
            bundle.writestr(BUNDLE_FILE, json.dumps(about, sort_keys=True, indent=1))
    except FileExistsError:
        raise EvidenceError(f"{path}: a file is there already") from None
    except (OSError, EvidenceError) as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise EvidenceError(f"{path}: cannot be written: {error.strerror}") from None
        raise
    return Bundled(model=model, bytes=path.stat().st_size, **counts)


def _check_file(data: Path, said: Mapping[str, Any]) -> None:
    """Raises EvidenceError for a file that is not as it was sealed, before anything reads what is in it."""
    path = data / SEALED_DIRECTORY / said["file"]
    if (digest := file_digest(path)) != said["sha256"]:
        raise EvidenceError(
            f"{path}: expected the file that was sealed, SHA-256 {said['sha256']}, came {digest}"
        )


def _write_records(
    bundle: zipfile.ZipFile, name: str, said: dict[str, object], segments: SealedSegments
) -> int:
    file = str(said["file"])
    records = list(segments.records(file))
    try:
        count = check_segment(said, records, file)
    except VerificationError as error:
        raise EvidenceError(str(error)) from None
    with bundle.open(name, "w", force_zip64=True) as stream:
        for record in records:
            stream.write(len(record).to_bytes(4, "big") + record)
    return count
