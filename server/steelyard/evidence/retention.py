"""Retention: sealed files go when they are old enough, and the oldest where a model's take too much room."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import ManifestError, RepositoryError
from steelyard.evidence.footers import Footers
from steelyard.evidence.ledger import SEALED_DIRECTORY, Ledger, Removed, append_to_ledger
from steelyard.evidence.notes_file import notes_path
from steelyard.evidence.sealed_file import SUFFIX
from steelyard.evidence.sealing import NOBODYS
from steelyard.evidence.segments import NOTES_DIRECTORY
from steelyard.models.evidence import Evidence
from steelyard.models.manifest import MODEL_MANIFEST, read_model_manifest
from steelyard.models.names import name_problem

# What was last in force for a model is kept beside its files: a model that leaves the repository keeps its evidence
# as long as its owner wanted.
KEPT_FILE = "retention.json"

NS_A_DAY = 86_400 * 10**9

# Files that are too old go hour by hour, and one event names those of an hour: a file may last only seconds.
HOUR_NS = 3600 * 10**9


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long the decisions of a model are kept, and in how many bytes."""

    days: float
    bytes: int


def of_decisions(evidence: Evidence) -> Kept:
    """What a manifest says of sealed decisions."""
    return Kept(evidence.retention_days, evidence.retention_bytes)


Expiring = Callable[[str, Sequence[str]], None]
"""Told of a model, empty for nobody's, and its files that are about to be removed; returns when that is recorded, and
raises EvidenceError where it cannot be."""


def remove_old(
    data: Path,
    repository: Path,
    ledger: Ledger,
    now_unix_ns: int,
    pause: Callable[[], None] = lambda: None,
    expiring: Expiring = lambda model, files: None,
    footers: Footers | None = None,
) -> Iterator[Removed]:
    """Removes what is not to be kept any longer; who reads a file then goes on reading it.

    footers: what is remembered from the last look of files that the ledger does not name; None: nothing.
    Raises OSError, and what `expiring` raises.
    """
    directory = data / SEALED_DIRECTORY
    footers = footers or Footers()
    for model in sorted(
        path for path in directory.iterdir() if path.is_dir() and path.name != NOTES_DIRECTORY
    ):
        pause()
        kept = kept_of(model, repository)
        going = _too_old(model, kept, now_unix_ns, ledger, footers)
        if going:
            of_model = "" if model.name == NOBODYS else model.name
            expiring(of_model, [str(path.relative_to(directory)) for path, _, _ in going])
        for path, why, records in going:
            removed = Removed(str(path.relative_to(directory)), now_unix_ns, why, records)
            # Said before it is done: whoever misses the file finds why.
            append_to_ledger(data, ledger, removed)
            path.unlink()
            yield removed
    _remove_notes(directory, ledger)


def kept_of(model: Path, repository: Path, said: Callable[[Evidence], Kept] = of_decisions) -> Kept:
    """What the manifest of a model says; where it cannot be read, what it said last, which is kept in `model`, the
    directory of what is removed."""
    path = model / KEPT_FILE
    manifest = repository / model.name / MODEL_MANIFEST
    if not name_problem(model.name) and manifest.parent.is_dir():
        try:
            evidence = read_model_manifest(manifest).evidence
        except (ManifestError, RepositoryError):
            return _last_kept(path) or said(Evidence())
        kept = said(evidence)
        if kept != _last_kept(path):
            # A full disk must not keep what is old: this is written by the first look for which there is room.
            with contextlib.suppress(OSError):
                temporary = path.with_name(f".{KEPT_FILE}.tmp")
                temporary.write_text(json.dumps({"days": kept.days, "bytes": kept.bytes}))
                temporary.replace(path)
        return kept
    return _last_kept(path) or said(Evidence())


def _last_kept(path: Path) -> Kept | None:
    try:
        fields = json.loads(path.read_text())
        return Kept(float(fields["days"]), int(fields["bytes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _too_old(
    model: Path, kept: Kept, now_unix_ns: int, ledger: Ledger, footers: Footers
) -> list[tuple[Path, str, int]]:
    """The files of a model that go, why ("age" or "bytes"), and how many records each has."""
    there = list(model.glob(f"[!.]*{SUFFIX}"))
    listed = ledger.summaries
    known = {path: listed.get(f"{model.name}/{path.name}") for path in there}
    # A damaged file is not thrown away: it is for whoever checks the log to find.
    known |= footers.of(model, [path for path, summary in known.items() if summary is None])
    files = [
        (summary.to_unix_ns, os.stat(path).st_size, path, summary.records)
        for path, summary in known.items()
        if summary is not None
    ]
    oldest_ns = int(now_unix_ns - kept.days * NS_A_DAY) // HOUR_NS * HOUR_NS
    going, room = [], kept.bytes
    for last_ns, size, path, records in sorted(files, reverse=True):
        room -= size
        if last_ns < oldest_ns:
            going.append((path, "age", records))
        elif room < 0:
            going.append((path, "bytes", records))
    return going[::-1]


def _remove_notes(directory: Path, ledger: Ledger) -> None:
    """Removes notes whose journal file has no decisions left, where it had any."""
    for sealed in ledger.sealed.values():
        if sealed.notes and sealed.files and not any((directory / file).exists() for file in sealed.files):
            notes_path(directory, sealed.segment).unlink(missing_ok=True)
