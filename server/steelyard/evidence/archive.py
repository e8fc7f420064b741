"""What is kept of a model that went out of service: events, manifests, and which files its decisions are in."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.errors import EvidenceError
from steelyard.evidence.directories import sync_directory
from steelyard.evidence.event import Event, digest_of
from steelyard.models.manifest import MODEL_MANIFEST
from steelyard.models.version_manifest import VERSION_MANIFEST

ARCHIVE = "archive"
INDEX = "archive.json"
EVENTS = "events.jsonl"
DECISIONS = "decisions.json"


@dataclass(frozen=True, slots=True)
class Archived:
    """An archive that is on disk: `path` from the data directory on, and the SHA-256 of its index."""

    path: str
    digest: str
    files: int


def archive(
    data: Path,
    repository: Path,
    model: str,
    number: int,
    versions: Sequence[int],
    events: Sequence[Event],
    decisions: Mapping[str, Any],
) -> Archived:
    """Writes `archive/MODEL/NUMBER` in the data directory, whole or not at all; one that is there is written anew.

    It holds events.jsonl with the canonical record of each event, model.toml and each version's version.toml where
    they are there, decisions.json, and archive.json with the SHA-256 of every file.

    number: the sequence of the event that took the model, or a version of it, out of service. decisions: which files
    they are in, as JSON.
    Raises EvidenceError where the disk does not take it.
    """
    target = data / ARCHIVE / model / str(number)
    staging = target.with_name(f".{number}.new")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True, mode=0o700)
        files = {
            EVENTS: b"".join(event.record() + b"\n" for event in events),
            DECISIONS: json.dumps(decisions, sort_keys=True, indent=1).encode() + b"\n",
        }
        for relative in (MODEL_MANIFEST, *(f"{version}/{VERSION_MANIFEST}" for version in versions)):
            path = repository / model / relative
            if path.is_file():
                files[relative] = path.read_bytes()
        index = {
            "model": model,
            "versions": sorted(versions),
            "events": len(events),
            "last_event": digest_of(events[-1].record()) if events else "",
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        }
        files[INDEX] = json.dumps(index, sort_keys=True, indent=1).encode() + b"\n"
        for name, content in files.items():
            _write(staging / name, content)
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise EvidenceError(f"{target}: cannot be written: {error.strerror}") from None
    return Archived(str(target.relative_to(data)), hashlib.sha256(files[INDEX]).hexdigest(), len(files))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)
