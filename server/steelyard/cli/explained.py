"""What is known of one decision, put together: its record, its surroundings, its model, and what changed before it."""

import datetime
import hashlib
from pathlib import Path
from typing import Any

from steelyard.errors import ManifestError, RepositoryError
from steelyard.evidence.columns import OUTCOMES, REASONS, ROLES, STAGES
from steelyard.evidence.log import EVENTS_FILE, read_events
from steelyard.evidence.lookup import Found, Lookup
from steelyard.evidence.record import Decision, Flag
from steelyard.models.digest import version_digest
from steelyard.models.manifest import MODEL_MANIFEST, read_model_manifest
from steelyard.models.names import name_problem
from steelyard.models.tree import walk
from steelyard.models.version_manifest import VERSION_MANIFEST, read_version_manifest
from steelyard.rollout import labels

HOUR_MS = 3_600_000

# Hashed in a tenth of a second; of larger versions it is said that they were not compared.
MAX_DIGESTED_BYTES = 64 << 20


def explained(data: Path, found: Found, repository: Path | None) -> dict[str, Any]:
    """All of it as JSON. Raises EvidenceError where what is recorded cannot be read."""
    decision = found.decision
    lookup = Lookup(data)
    at_ms = decision.received_unix_ns // 1_000_000
    events = [event for event in read_events(data / EVENTS_FILE).events if event.unix_ms <= at_ms]
    standing = labels.fold(events).get(decision.model, labels.ModelLabels()).labels.values()
    hour = lookup.hour(decision)
    governance, lineage, note = _declared(repository, decision)
    mates = lookup.mates(found)
    return {
        "decision": _decision(decision, found.worker),
        "where": found.where,
        "leaf_hash": hashlib.sha256(b"\0" + found.record).hexdigest(),
        "labels": [
            label.name
            for label in standing
            if (label.holder.number, label.holder.digest) == (decision.version, decision.digest)
        ],
        "governance": governance,
        "lineage": lineage,
        "lineage_note": note,
        "batch": {
            "number": decision.batch,
            "requests": decision.batch_requests,
            "rows": decision.batch_rows,
            "position": decision.position,
            "mates": [
                {"decision_id": mate.decision_id, "position": mate.position, "rows": mate.rows}
                for mate in mates
            ],
        },
        "hour_count": hour.stages["total_ns"].count if hour.stages else 0,
        "stages": {
            name.removesuffix("_ns"): {
                "ns": getattr(decision, name),
                "p50_ns": hour.stages[name].quantile_ns(0.5) if hour.stages else None,
                "p99_ns": hour.stages[name].quantile_ns(0.99) if hour.stages else None,
                "share_below": hour.stages[name].share_below(getattr(decision, name))
                if hour.stages
                else None,
            }
            for name in STAGES
        },
        "notes": lookup.notes(found),
        "events": [
            {
                "unix_ms": event.unix_ms,
                "kind": event.kind,
                "model": event.model,
                "actor": event.actor,
                "reason": event.reason,
                "digest": event.digest,
                "details": dict(event.details),
            }
            for event in events
            if event.unix_ms > at_ms - HOUR_MS and event.model in ("", decision.model)
        ],
    }


def _decision(decision: Decision, worker: int | None) -> dict[str, Any]:
    flags = [flag.name.lower() for flag in Flag if flag in decision.flags and flag.name]
    received = datetime.datetime.fromtimestamp(decision.received_unix_ns / 1e9, datetime.UTC)
    return {
        "decision_id": decision.decision_id,
        "received": received.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "received_unix_ns": decision.received_unix_ns,
        "outcome": OUTCOMES[decision.outcome],
        "code": decision.code,
        "reason": REASONS[decision.reason] if decision.reason < len(REASONS) else None,
        "message": decision.message,
        "role": ROLES[decision.role],
        "model": decision.model,
        "version": decision.version,
        "digest": decision.digest,
        "signer": decision.signer,
        "rows": decision.rows,
        "worker": worker,
        "total_ns": decision.total_ns,
        "deadline_left_ns": decision.deadline_left_ns if Flag.DEADLINE in decision.flags else None,
        "flags": [flag for flag in flags if flag in ("flagged", "marked")],
        "sample_rate": decision.sample_rate,
        "request_id": decision.request_id,
        "caller": decision.caller,
        "key": decision.key,
        "trace_id": decision.trace_id,
    }


def _declared(repository: Path | None, decision: Decision) -> tuple[dict[str, Any], dict[str, Any], str]:
    """What the manifests say of owner and lineage, and what is to be known about that."""
    if repository is None:
        return {}, {}, "no repository is known: --repository"
    if name_problem(decision.model) or not (repository / decision.model).is_dir():
        return {}, {}, f"{repository} has no such model now"
    model = repository / decision.model
    version = model / str(decision.version)
    try:
        governance = read_model_manifest(model / MODEL_MANIFEST).governance
        said = governance.model_dump(mode="json", exclude_none=True)
        owners: dict[str, Any] = {
            key: said[key] for key in ("owner", "backup_owner", "retire_on") if key in said
        }
        if not version.is_dir():
            return owners, {}, f"version {decision.version} is not in {repository} any more"
        lineage = read_version_manifest(version / VERSION_MANIFEST).lineage.model_dump(exclude_none=True)
        return owners, lineage, _compared(version, decision.digest)
    except (ManifestError, RepositoryError) as error:
        return {}, {}, str(error)


def _compared(version: Path, digest: str) -> str:
    """What is to be said where the files of a version are not known to be those that answered."""
    size = sum((version / file.relative).stat().st_size for file in walk(str(version)))
    if size > MAX_DIGESTED_BYTES:
        return f"not compared with the content that answered, as {version} has {size >> 20} MiB"
    return "" if version_digest(version) == digest else f"{version} has other content now than what answered"
