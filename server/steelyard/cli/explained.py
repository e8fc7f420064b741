"""What is known of one decision, put together: its record, its surroundings, its model, and what changed before it."""

import datetime
import hashlib
from pathlib import Path
from typing import Any

from steelyard.cli.shadows_shown import shadows_document
from steelyard.cli.standing import standing
from steelyard.clock import rfc3339
from steelyard.evidence.columns import OUTCOMES, REASONS, ROLES, STAGES
from steelyard.evidence.feedback import feedback_of
from steelyard.evidence.log import EVENTS_FILE, read_events
from steelyard.evidence.lookup import Found, Lookup
from steelyard.evidence.record import Decision, Flag
from steelyard.rollout import labels

HOUR_MS = 3_600_000


def explained(data: Path, found: Found, repository: Path | None) -> dict[str, Any]:
    """All of it as JSON. Raises EvidenceError where what is recorded cannot be read."""
    decision = found.decision
    lookup = Lookup(data)
    at_ms = decision.received_unix_ns // 1_000_000
    everything = read_events(data / EVENTS_FILE).events
    events = [event for event in everything if event.unix_ms <= at_ms]
    standing_labels = labels.fold(events).get(decision.model, labels.ModelLabels()).labels.values()
    hour = lookup.hour(decision)
    declared = standing(everything, decision, repository)
    mates = lookup.mates(found)
    said = feedback_of(data, decision.decision_id)
    return {
        "decision": _decision(decision, found.worker),
        "where": found.where,
        "leaf_hash": hashlib.sha256(b"\0" + found.record).hexdigest(),
        "labels": [
            label.name
            for label in standing_labels
            if (label.holder.number, label.holder.digest) == (decision.version, decision.digest)
        ],
        "governance": declared.governance,
        "governance_note": declared.governance_note,
        "governance_since": declared.since,
        "lineage": declared.lineage,
        "lineage_note": declared.lineage_note,
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
        "feedback": [
            {
                "value": one.value,
                "source": one.source,
                "received": rfc3339(one.received_unix_ms),
                "received_unix_ms": one.received_unix_ms,
                "late_ms": one.received_unix_ms - at_ms,
            }
            for one in said.feedback
        ],
        "feedback_damaged": said.damaged,
        "shadows": shadows_document(data, everything, decision),
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
