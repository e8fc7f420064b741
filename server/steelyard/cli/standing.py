"""Who answered for a model, and where a version came from, when a decision was made: by events, else by manifests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steelyard.errors import ManifestError, RepositoryError
from steelyard.evidence import declared, versions
from steelyard.evidence.event import Event
from steelyard.evidence.life import Lives, ModelLife
from steelyard.evidence.record import Decision
from steelyard.models.digest import version_digest
from steelyard.models.names import name_problem
from steelyard.models.tree import walk

# A version answers a moment before the supervisor has recorded it, and its manifest is read when that is done: what
# the server reads first stands for decisions of so long before.
FIRST_LOOK_MS = 10_000

# Hashed in a tenth of a second; of larger versions it is said that they were not compared.
MAX_DIGESTED_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known; a note is empty where the events up to the decision hold it."""

    governance: Mapping[str, Any]
    """Keys of `[governance]` that were in force; `retire_on` with extensions."""
    governance_note: str
    lineage: Mapping[str, Any]
    lineage_note: str
    since: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Keys of `[governance]` that are in force otherwise now: `from` and `to`."""


def standing(events: Sequence[Event], decision: Decision, repository: Path | None) -> Standing:
    """How it stood when `decision` was made. events: all that the data directory has, also later ones."""
    told = [event for event in events if event.model == decision.model and decision.model]
    governance = _governance(told, decision.received_unix_ns // 1_000_000)
    lineage = _lineage(told, decision)
    if governance is not None and lineage is not None:
        return Standing(*governance, lineage, "", _since(governance[0], told))
    now = _of_manifests(repository, decision)
    if governance is not None:
        return Standing(*governance, now.lineage, now.lineage_note, _since(governance[0], told))
    if lineage is not None:
        return Standing(now.governance, now.governance_note, lineage, "")
    return now


def _governance(told: Sequence[Event], at_ms: int) -> tuple[Mapping[str, Any], str] | None:
    """What was in force at that time, and what is to be said of that; None where no event of the time holds it."""
    read_ms = _first_look_ms(told)
    if at_ms < read_ms <= at_ms + FIRST_LOOK_MS:
        note = f"as the server read it first, {(read_ms - at_ms) / 1000:.1f} s later"
        return _in_force(_life([event for event in told if event.unix_ms <= read_ms])), note
    known = [event for event in told if event.unix_ms <= at_ms]
    return (_in_force(_life(known)), "") if known else None


def _first_look_ms(told: Sequence[Event]) -> int:
    """When the server had first read the model's manifest; 0 where no event names the model."""
    if not told:
        return 0
    for event in told:
        if event.kind in declared.GOVERNANCE_KINDS:
            is_first_look = event.details["source"] == declared.MANIFEST
            if is_first_look and event.unix_ms <= told[0].unix_ms + FIRST_LOOK_MS:
                return event.unix_ms
            break
    return told[0].unix_ms


def _lineage(told: Sequence[Event], decision: Decision) -> Mapping[str, Any] | None:
    """Of the content that answered, by its digest: version.toml is a part of that, so any moment's event will do."""
    for event in told:
        if event.kind == versions.REGISTERED and decision.digest and event.digest == decision.digest:
            return dict(event.details["lineage"])
    return None


def _since(then: Mapping[str, Any], told: Sequence[Event]) -> Mapping[str, Mapping[str, Any]]:
    return declared.changes(then, _in_force(_life(told)))


def _life(told: Sequence[Event]) -> ModelLife:
    return Lives(told).of(told[0].model) if told else ModelLife()


def _in_force(life: ModelLife) -> Mapping[str, Any]:
    day = life.retiring.retire_on
    return {**life.governance, **({} if day is None else {"retire_on": day})}


def _of_manifests(repository: Path | None, decision: Decision) -> Standing:
    """What the manifests say today, and that it is today's."""

    def unknown(why: str) -> Standing:
        return Standing({}, why, {}, why)

    if repository is None:
        return unknown("no event holds it, and no repository is known: --repository")
    # A tenth of a second of imports, which most decisions do without.
    from steelyard.models.manifest import MODEL_MANIFEST, read_model_manifest
    from steelyard.models.version_manifest import VERSION_MANIFEST, read_version_manifest

    if name_problem(decision.model) or not (repository / decision.model).is_dir():
        return unknown(f"no event holds it, and {repository} has no such model now")
    model = repository / decision.model
    version = model / str(decision.version)
    today = "as {} says today: no event of the time holds it"
    try:
        said = read_model_manifest(model / MODEL_MANIFEST).governance
        governance = said.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        note = today.format(MODEL_MANIFEST)
        if not version.is_dir():
            why = f"no event holds it, and version {decision.version} is not in {repository} any more"
            return Standing(governance, note, {}, why)
        lineage = read_version_manifest(version / VERSION_MANIFEST).lineage.model_dump(exclude_none=True)
        compared = _compared(version, decision.digest)
        of_lineage = "; ".join(part for part in (today.format(VERSION_MANIFEST), compared) if part)
        return Standing(governance, note, lineage, of_lineage)
    except (ManifestError, RepositoryError) as error:
        return unknown(f"no event holds it, and {error}")


def _compared(version: Path, digest: str) -> str:
    """What is to be said where the files of a version are not known to be those that answered."""
    size = sum((version / file.relative).stat().st_size for file in walk(str(version)))
    if size > MAX_DIGESTED_BYTES:
        return f"not compared with the content that answered, as {version} has {size >> 20} MiB"
    return "" if version_digest(version) == digest else f"{version} has other content now than what answered"
