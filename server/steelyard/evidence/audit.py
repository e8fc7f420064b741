"""Verifies all that a data directory holds against its transparency log, and says where something was changed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from steelyard.errors import EvidenceError
from steelyard.evidence.audit_events import LoggedEvents
from steelyard.evidence.audit_journal import check_journal
from steelyard.evidence.audit_tree import CheckedEntries, check_tree
from steelyard.evidence.entry import Entry, EventEntry, NotesEntry, SegmentEntry, read_entry
from steelyard.evidence.fault import Fault
from steelyard.evidence.merkle import Records
from steelyard.evidence.segments import NOTES_DIRECTORY, SEALED_DIRECTORY, SealedSegments, file_digest
from steelyard.evidence.tlog import CHECKPOINT_FILE, LogReader
from steelyard.evidence.verifier import (
    Checkpoint,
    Key,
    VerificationError,
    check_consistency,
    open_checkpoint,
    read_checkpoint,
    read_note,
)


@dataclass(slots=True)
class Audit:
    """What was verified, and what was found."""

    size: int = 0
    """Entries in the log."""
    root: str = ""
    events: int = 0
    """Events that are as they were logged."""
    segments: int = 0
    """Sealed segments that are as they were logged."""
    records: int = 0
    notes: int = 0
    """Files of sealed notes that are as they were logged."""
    unlogged_notes: int = 0
    """Files of notes that were sealed by a release that did not log them; a server that starts does."""
    expired: int = 0
    """Sealed segments that are no longer kept, as an event says."""
    waiting_events: int = 0
    """Events that are not in the log yet."""
    faults: list[Fault] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True)
class Span:
    """Which segments and events are read, in nanoseconds since the epoch: from `from_ns` up to, without, `to_ns`.

    The log's tree is verified whole, whatever the span.
    """

    from_ns: int = 0
    to_ns: int = 1 << 63

    @property
    def is_whole(self) -> bool:
        return self == Span()

    def has(self, entry: Entry) -> bool:
        """Whether an entry is about something in the span; notes, which come whenever they come, always are."""
        if isinstance(entry, NotesEntry):
            return True
        if isinstance(entry, EventEntry):
            return self.from_ns <= entry.unix_ms * 1_000_000 < self.to_ns
        return entry.first_ns < self.to_ns and entry.last_ns >= self.from_ns


def audit(
    data: Path,
    log: LogReader,
    segments: SealedSegments,
    *,
    span: Span | None = None,
    witnesses: Iterable[Key] = (),
    seen: bytes | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Verifies `log` and what it vouches for. Changes nothing, and may run beside a server that appends.

    witnesses: who must have signed the checkpoint as well. seen: an earlier checkpoint, kept elsewhere, that the log
    must have grown from. progress: told how many entries of how many are done.
    """
    found = Audit()
    span = span or Span()
    # Before the log is read: what is sealed meanwhile becomes an entry that this reading of it does not have.
    sealed = _sealed_files(data)
    checkpoint = _checkpoint(log, witnesses, found.faults)
    if checkpoint is not None:
        found.size, found.root = checkpoint.size, checkpoint.root.hex()
        checked = check_tree(log, checkpoint, found.faults)
        if seen is not None:
            _check_seen(log, checkpoint, seen, found.faults)
        logged = _check_contents(
            data, checked, segments, span, found, lambda done: progress(done, checkpoint.size)
        )
        if checked.is_all:
            _check_no_others(sealed, logged, found)
    found.faults += check_journal(data)
    return found


def _checkpoint(log: LogReader, witnesses: Iterable[Key], faults: list[Fault]) -> Checkpoint | None:
    """The checkpoint; also one with a wrong signature, as what it says helps to find what else was changed."""
    where = str(log.directory / CHECKPOINT_FILE)
    try:
        note = log.note()
    except EvidenceError as error:
        faults.append(Fault(where, str(error)))
        return None
    try:
        return open_checkpoint(note, log.key, witnesses)
    except VerificationError as error:
        faults.append(Fault(where, str(error)))
    try:
        return read_checkpoint(read_note(note).text)
    except VerificationError:
        return None


def _check_seen(log: LogReader, checkpoint: Checkpoint, seen: bytes, faults: list[Fault]) -> None:
    try:
        old = open_checkpoint(seen, log.key)
        check_consistency(
            (old.size, old.root),
            (checkpoint.size, checkpoint.root),
            log.consistency(old.size, checkpoint.size) if old.size <= checkpoint.size else (),
        )
    except (VerificationError, EvidenceError) as error:
        faults.append(Fault("the checkpoint seen before", str(error)))


def _check_contents(
    data: Path,
    checked: CheckedEntries,
    segments: SealedSegments,
    span: Span,
    found: Audit,
    progress: Callable[[int], None],
) -> set[str]:
    """Gives the sealed files that the log is about."""
    events = LoggedEvents(data, found.faults, checked.is_all)
    logged: set[str] = set()
    notes: list[NotesEntry] = []
    for index, packed in checked.entries:
        progress(index + 1)
        try:
            entry = read_entry(packed)
        except EvidenceError as error:
            found.faults.append(Fault(f"entry {index} of the log", str(error)))
            continue
        if isinstance(entry, EventEntry):
            found.events += events.compare(entry, span.has(entry))
        elif isinstance(entry, NotesEntry):
            notes.append(entry)
        else:
            logged.add(entry.file)
            if span.has(entry):
                _check_segment(data, entry, segments, events, found)
    found.waiting_events = events.finish()
    for one in notes:
        _check_notes(data, one, logged, events, found)
    return logged | {one.file for one in notes}


def _check_notes(data: Path, entry: NotesEntry, logged: set[str], events: LoggedEvents, found: Audit) -> None:
    """Notes go with the last of the decisions that were sealed with them."""
    path = data / SEALED_DIRECTORY / entry.file
    if not path.exists():
        beside = [file for file in logged if PurePosixPath(file).name == path.name]
        if beside and all(events.is_expired(file) for file in beside):
            return
    try:
        digest = file_digest(path)
    except EvidenceError as error:
        found.faults.append(Fault(str(path), str(error).removeprefix(f"{path}: ")))
        return
    if digest != entry.sha256:
        what = f"expected the notes that were sealed, SHA-256 {entry.sha256}, came {digest}"
        found.faults.append(Fault(str(path), what))
    else:
        found.notes += 1


def _sealed_files(data: Path) -> list[str]:
    """The files of decisions and of notes of which the log must have entries: all but those that are just being sealed,
    whose files of the journal are there still."""
    directory = data / SEALED_DIRECTORY
    found = []
    for path in sorted(directory.glob("*/[!.]*.parquet")):
        worker, _, began = path.stem.rpartition("-")
        if not (data / "journal" / worker / f"{began}.log").exists():
            found.append(str(path.relative_to(directory)))
    return found


def _check_no_others(sealed: Sequence[str], logged: set[str], found: Audit) -> None:
    """A file that no entry is about was put there by somebody else; but where the log knows of no notes, those that are
    there are an earlier release's."""
    knows_notes = any(_is_of_notes(name) for name in logged)
    for name in sealed:
        if name not in logged and _is_of_notes(name) and not knows_notes:
            found.unlogged_notes += 1
        elif name not in logged:
            found.faults.append(Fault(name, "no entry of the log is about this file"))


def _is_of_notes(name: str) -> bool:
    return PurePosixPath(name).parent.name == NOTES_DIRECTORY


def _check_segment(
    data: Path, entry: SegmentEntry, segments: SealedSegments, events: LoggedEvents, found: Audit
) -> None:
    path = data / SEALED_DIRECTORY / entry.file
    if not path.exists() and events.is_expired(entry.file):
        found.expired += 1
        return
    faults = []
    try:
        digest = file_digest(path)
        if digest != entry.sha256:
            faults.append(f"expected the file that was sealed, SHA-256 {entry.sha256}, came {digest}")
        if faults:
            count, root = segments.examined(entry.file)
        else:
            tree = Records(segments.records(entry.file))
            count, root = tree.count, tree.root()
        if (count, root) != (entry.count, entry.root):
            faults.append(f"its {count} records are not the {entry.count} that were sealed")
        elif faults:
            faults.append("its records are as they were sealed all the same")
        found.records += count
    except EvidenceError as error:
        faults.append(str(error).removeprefix(f"{path}: "))
    if faults:
        found.faults.append(Fault(str(path), "; ".join(faults)))
    else:
        found.segments += 1
