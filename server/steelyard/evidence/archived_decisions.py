"""Which sealed files have the decisions of versions that go out of service: references, with the digests in the log.

What reads sealed files needs pyarrow, and a damaged footer can end the process that reads it: so it is a process of its
own, which `archived_decisions` starts.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steelyard.errors import EvidenceError
from steelyard.evidence.apart import READ_WITHIN_S, apart_async


async def archived_decisions(
    data: Path, log_key: Path | None, model: str, versions: Sequence[int], within_s: float = READ_WITHIN_S
) -> dict[str, Any]:
    """What an archive says of the decisions of `versions`; empty: of all of the model's.

    `sealed` are the sealed files that have any: `file` below `sealed/`, `decisions` of the versions among its
    `records`, times, and from the transparency log `log_index`, `root` and `sha256`, null where the file is not in the
    log yet. `unsealed` are files of the journal, `file` what they become. `problem`: why it could not be found out
    within `within_s`. Cancelled, it kills the process that reads.
    """
    target = "steelyard.evidence.archived_decisions:decisions_of"
    try:
        found: dict[str, Any] = await apart_async(
            target, data, log_key, model, list(versions), within_s=within_s
        )
    except EvidenceError as error:
        return {"sealed": [], "unsealed": [], "problem": str(error)}
    return found


def decisions_of(data: Path, log_key: Path | None, model: str, versions: Sequence[int]) -> dict[str, Any]:
    """As `archived_decisions`, in this process, which stands back behind others from now on. Raises EvidenceError."""
    import numpy as np
    import pyarrow.parquet as pq

    from steelyard.evidence.batch import numbers
    from steelyard.evidence.ledger import SEALED_DIRECTORY
    from steelyard.evidence.sealing import sealed_name
    from steelyard.evidence.store import snapshot

    os.nice(19)
    logged = _logged(data, log_key)
    found: dict[str, Any] = {"sealed": [], "unsealed": [], "problem": ""}
    sealed, unsealed = snapshot(data, model)
    for one in sealed:
        summary = one.summary
        if summary.model != model:
            continue
        count = summary.records
        if versions:
            with pq.ParquetFile(one.path) as file:
                count = int(np.isin(numbers(file.read(columns=["version"])["version"]), versions).sum())
        if count:
            name = str(one.path.relative_to(data / SEALED_DIRECTORY))
            about = logged.get(name, {"log_index": None, "root": None, "sha256": None})
            found["sealed"].append(
                {
                    "file": name,
                    "decisions": count,
                    "records": summary.records,
                    "from_unix_ns": summary.from_unix_ns,
                    "to_unix_ns": summary.to_unix_ns,
                    **about,
                }
            )
    for part in unsealed:
        heads = part.records.heads()["version"]
        count = int(np.isin(heads, versions).sum()) if versions else len(heads)
        if count:
            name = f"{model}/{sealed_name(part.file.name)}"
            found["unsealed"].append({"segment": part.file.name, "file": name, "decisions": count})
    return found


def _logged(data: Path, log_key: Path | None) -> dict[str, dict[str, Any]]:
    """What the transparency log says of each sealed file; nothing where there is none, or it cannot be read."""
    from steelyard.evidence.entry import SegmentEntry
    from steelyard.evidence.tlog import key_paths, open_reader

    try:
        return {
            entry.file: {"log_index": index, "root": entry.root.hex(), "sha256": entry.sha256}
            for index, entry in enumerate(open_reader(data, key_paths(data, log_key, None)).entries())
            if isinstance(entry, SegmentEntry)
        }
    except EvidenceError:
        return {}
