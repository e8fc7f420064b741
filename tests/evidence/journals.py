"""Journals as a worker writes them, for those who read them."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steelyard.evidence.frames import Gap, Kind, frame, json_frame, notes_frame
from steelyard.evidence.record import Decision, Flag, Outcome, pack

START_NS = 1_790_000_000 * 10**9
DIGEST = "sha256:" + "5a" * 32


def decision(number: int, **fields: Any) -> Decision:
    """The decision of that number, one a millisecond, four a batch."""
    received_ns = START_NS + number * 10**6
    upper = (received_ns // 10**6) << 16 | 7 << 12 | number % 4096
    values: dict[str, Any] = {
        "decision_id": str(uuid.UUID(int=upper << 64 | 1 << 63 | number)),
        "outcome": Outcome.ANSWERED,
        "code": 0,
        "received_unix_ns": received_ns,
        "total_ns": 1_000_000 + number * 1000,
        "queue_ns": 400_000,
        "execute_ns": 500_000,
        "model": "prices",
        "version": 3,
        "digest": DIGEST,
        "batch": 1 + number // 4,
        "batch_rows": 4,
        "batch_requests": 4,
        "position": number % 4,
        "rows": 1,
        "request_id": f"order-{number}",
    }
    return Decision(**{**values, **fields})


def write(
    data: Path,
    records: Sequence[bytes],
    number: int = 1,
    *,
    notes: Sequence[dict[str, Any]] = (),
    gaps: Sequence[Gap] = (),
    closed: bool = True,
    torn: bytes = b"",
    worker: int = 0,
) -> Path:
    """Writes a file of the journal."""
    path = data / "journal" / f"worker-{worker}" / f"{START_NS + number:020d}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [json_frame(Kind.BEGIN, {"format": 1, "worker": worker, "pid": 99, "unix_ns": START_NS})]
    # Two frames, and a boundary among the records.
    for half in (records[: len(records) // 2], records[len(records) // 2 :]):
        if half:
            payload = b"".join(len(record).to_bytes(2, "little") + record for record in half)
            parts.append(frame(Kind.RECORDS, payload))
    if notes:
        parts.append(notes_frame(list(notes)))
    parts += [
        json_frame(
            Kind.GAP,
            {
                "count": gap.count,
                "from_unix_ns": gap.from_unix_ns,
                "to_unix_ns": gap.to_unix_ns,
                "why": gap.why,
            },
        )
        for gap in gaps
    ]
    if closed:
        parts.append(json_frame(Kind.END, {"records": len(records), "gaps": len(gaps), "unix_ns": START_NS}))
    path.write_bytes(b"".join(parts) + torn)
    return path


def packed(*numbers: int, **fields: Any) -> list[bytes]:
    """The canonical records of those decisions."""
    return [pack(decision(number, **fields)) for number in numbers]


TRACED = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "flags": Flag.TRACE}
