"""A witness: signs a log's checkpoint once it has seen that the log only grew since the last one that it signed."""

from pathlib import Path

from steelyard.clock import Clock
from steelyard.errors import EvidenceError
from steelyard.evidence.checkpoint import cosigned
from steelyard.evidence.keys import PrivateKey
from steelyard.evidence.tiles import replace_file
from steelyard.evidence.tlog import LogReader
from steelyard.evidence.verifier import (
    MAX_NOTE_BYTES,
    Checkpoint,
    VerificationError,
    check_consistency,
    open_checkpoint,
)


def cosign(log: LogReader, witness: PrivateKey, seen: Path, clock: Clock) -> Checkpoint:
    """Signs the log's checkpoint and keeps it at `seen`, where the last one is that this witness has signed, if any.

    Raises EvidenceError where the log's checkpoint is not signed by its key or the log did not grow from what is at
    `seen`, which then stays as it is; where what is there is not this witness's; and where it cannot be written.
    """
    note = log.note()
    try:
        checkpoint = open_checkpoint(note, log.key)
        before = _before(log, witness, seen)
        if before is not None:
            check_consistency(
                (before.size, before.root),
                (checkpoint.size, checkpoint.root),
                log.consistency(before.size, checkpoint.size) if before.size <= checkpoint.size else (),
            )
    except VerificationError as error:
        raise EvidenceError(f"not signed: {error}") from None
    replace_file(seen, cosigned(note, witness, clock.unix_ns() // 1_000_000_000), 0o644)
    return checkpoint


def _before(log: LogReader, witness: PrivateKey, seen: Path) -> Checkpoint | None:
    try:
        with seen.open("rb") as file:
            return open_checkpoint(file.read(MAX_NOTE_BYTES + 1), log.key, [witness.key])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EvidenceError(f"{seen}: cannot be read: {error.strerror}") from None
    except VerificationError as error:
        raise EvidenceError(
            f"{seen}: expected the last checkpoint that {witness.key.name} signed: {error}"
        ) from None
