"""Retention of captured payloads, also of models that are served no more."""

from collections.abc import Callable, Iterator
from pathlib import Path

from steelyard.evidence.payload_files import PAYLOADS, expire
from steelyard.evidence.retention import NS_A_DAY, Kept, kept_of
from steelyard.models.evidence import Evidence


def remove_old_payloads(
    data: Path, repository: Path, now_unix_ns: int, pause: Callable[[], None] = lambda: None
) -> Iterator[tuple[str, int]]:
    """Removes files of payloads that are not to be kept any longer; gives the models, and how many went of each.

    Raises EvidenceError and OSError where they cannot be read or removed.
    """
    directory = data / PAYLOADS
    if not directory.is_dir():
        return
    for model in sorted(path for path in directory.iterdir() if path.is_dir()):
        pause()
        kept = kept_of(model, repository, _of_capture)
        oldest_ms = int((now_unix_ns - kept.days * NS_A_DAY) / 1e6)
        if gone := expire(data, model.name, oldest_ms, kept.bytes, now_unix_ns // 1_000_000):
            yield model.name, gone


def _of_capture(evidence: Evidence) -> Kept:
    return Kept(evidence.capture.retention_days, evidence.capture.retention_bytes)
