"""Erasing captured payloads: what was asked and answered goes with its salt, what was recorded of it stays."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from steelyard.errors import EvidenceError
from steelyard.evidence.event import Draft
from steelyard.evidence.payload_files import Entry, is_decision_id, payload_files
from steelyard.evidence.payload_walk import Wreck, walk

P = ParamSpec("P")
T = TypeVar("T")

# Before anything is touched, and after it.
PAYLOAD_ERASING = "payload.erasing"
PAYLOAD_ERASED = "payload.erased"

# Ids of 36 characters: an event stays well below the bound of its record.
MAX_DECISIONS_AN_EVENT = 1000

# An entry of 16 MiB, or a file of feedback, is overwritten on a disk that answers.
THREAD_ENDS_WITHIN_S = 5.0


@dataclass(slots=True)
class Erasure:
    """What was erased, by model, and what could not be. Known as it is done, to who breaks it off too."""

    decisions: dict[str, list[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """Why entries that may have been meant could not be read or overwritten."""
    broken_off: bool = False
    """Set by who wants it to end: before the next entry it does."""

    @property
    def ids(self) -> list[str]:
        """The decisions of all models."""
        return [one for some in self.decisions.values() for one in some]

    def add(self, model: str, decision_id: str) -> None:
        """Something of this decision was erased."""
        known = self.decisions.setdefault(model, [])
        if decision_id not in known:
            known.append(decision_id)

    def drafts(self, actor: str, reason: str, by: str, erasing: int) -> list[Draft]:
        """The events that say so, one of no model where nothing was erased; by: "decision" or "key"; erasing: the event
        before. They do not hold the key, which may name a person."""
        details = {"by": by, "erasing": erasing, "failures": len(self.failures)}
        return [
            Draft(PAYLOAD_ERASED, model, actor, reason, details={**details, "decisions": some})
            for model, decisions in sorted(self.decisions.items()) or [("", [])]
            for some in _parts(decisions)
        ]


async def on_thread(erasure: Erasure, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """`work`, which adds to `erasure`, on a thread. Where this is cancelled, it breaks that off and waits for its end,
    so that whoever records it knows all of it."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        erasure.broken_off = True
        await asyncio.wait({running}, timeout=THREAD_ENDS_WITHIN_S)
        raise


def erase_decision(data: Path, wanted: str, erasure: Erasure) -> bool:
    """Erases the payload of a decision, or of all requests of an id; says whether one is there or was."""
    is_id = is_decision_id(wanted)
    names = [wanted.encode(), uuid.UUID(wanted).bytes] if is_id else _spellings(wanted)

    def is_meant(entry: Entry) -> bool:
        return entry.head.decision_id == wanted if is_id else entry.read().request_id == wanted

    return _erase_all(data, names, is_meant, erasure) or bool(erasure.decisions)


def erase_key(data: Path, key: str, erasure: Erasure) -> bool:
    """Erases the payloads of all requests that carried a key; says whether there are any."""
    _erase_all(data, _spellings(key), lambda entry: entry.read().key == key, erasure)
    return bool(erasure.decisions)


def _erase_all(
    data: Path, names: Sequence[bytes], is_meant: Callable[[Entry], bool], erasure: Erasure
) -> bool:
    """Erases what is meant, and what is damaged and holds one of `names`; says whether any was erased before.

    All files are looked through: their times are those of a clock that may have been set back.
    """
    was_there = False
    for path in payload_files(data):
        try:
            for found in walk(path):
                if erasure.broken_off:
                    return was_there
                if isinstance(found, Entry) and found.head.erased:
                    # It keeps its decision's id, and nothing else that it could be known by.
                    was_there |= uuid.UUID(found.head.decision_id).bytes in names
                else:
                    _erase_one(found, names, is_meant, erasure)
        except FileNotFoundError:
            # Retention has been there.
            continue
        except EvidenceError as error:
            erasure.failures.append(str(error))
    return was_there


def _erase_one(
    found: Entry | Wreck, names: Sequence[bytes], is_meant: Callable[[Entry], bool], erasure: Erasure
) -> None:
    try:
        if found.holds(names) if isinstance(found, Wreck) else _is_wanted(found, names, is_meant):
            found.erase()
            erasure.add(found.path.parent.name, found.decision_id)
        elif isinstance(found, Wreck):
            where = f"{found.path}: byte {found.offset}"
            erasure.failures.append(f"{where}: damaged, and whose that is cannot be told")
    except EvidenceError as error:
        erasure.failures.append(str(error))


def _is_wanted(entry: Entry, names: Sequence[bytes], is_meant: Callable[[Entry], bool]) -> bool:
    """Whether an entry is meant, or cannot be read and holds one of `names`. Raises EvidenceError for another that
    cannot be read."""
    try:
        return is_meant(entry)
    except EvidenceError:
        content = entry.content()
        if any(name in content for name in names):
            return True
        # Being written just now, or cut off.
        if len(content) < entry.head.content_bytes:
            return False
        raise


def _spellings(name: str) -> list[bytes]:
    """A request's id or key as it stands in an entry: in what is said of it, and in the request itself."""
    said = json.dumps(name).encode()
    return [said, name.encode()] if name else [said]


def _parts(decisions: list[str]) -> Iterator[list[str]]:
    for start in range(0, max(len(decisions), 1), MAX_DECISIONS_AN_EVENT):
        yield decisions[start : start + MAX_DECISIONS_AN_EVENT]
