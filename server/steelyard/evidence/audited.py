"""When a data directory was last audited, and what came of it; and the audit that a schedule asks for."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from steelyard.clock import Clock
from steelyard.evidence.audit import Audit, Span, audit
from steelyard.evidence.keys import public_path, read_public
from steelyard.evidence.segments import SealedSegments
from steelyard.evidence.tiles import replace_file
from steelyard.evidence.tlog import KeyPaths, open_reader

AUDIT_FILE = "audit.json"
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LastAudit:
    """The last audit of a whole data directory."""

    unix_ms: int
    faults: int
    succeeded_unix_ms: int
    """When one last found nothing wrong; 0: never."""
    size: int
    """Entries that the log had."""


def last_audit(data: Path) -> LastAudit | None:
    """What was kept of the last audit, None where there was none."""
    try:
        with (data / AUDIT_FILE).open("rb") as file:
            return LastAudit(**json.loads(file.read(_MAX_BYTES)))
    except (OSError, ValueError, TypeError):
        return None


def keep_audit(data: Path, found: Audit, clock: Clock) -> None:
    """Keeps what an audit of the whole has found. Raises EvidenceError where it cannot be written."""
    now = clock.unix_ns() // 1_000_000
    before = last_audit(data)
    succeeded = now if found.ok else before.succeeded_unix_ms if before is not None else 0
    kept = LastAudit(now, len(found.faults), succeeded, found.size)
    # By the housekeeper, and by whoever verifies beside it.
    replace_file(data / AUDIT_FILE, json.dumps(asdict(kept)).encode(), writer=f".{os.getpid()}")


def audit_whole(
    data: Path,
    keys: KeyPaths,
    segments: SealedSegments,
    clock: Clock,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Verifies all that `data` holds, and keeps when and how it ended: what a schedule calls.

    progress: as of `audit`.
    Raises EvidenceError where there is no log, or what was found cannot be kept.
    """
    log = open_reader(data, keys)
    witnesses = [] if keys.witness is None else [read_public(public_path(keys.witness))]
    found = audit(data, log, segments, span=Span(), witnesses=witnesses, progress=progress)
    keep_audit(data, found, clock)
    return found
