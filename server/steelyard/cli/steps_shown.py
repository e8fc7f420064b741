"""The pipeline's steps with what they made, as `steelyard explain` shows them: the captured request, run again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steelyard.cli.values import json_values
from steelyard.errors import EvidenceError, SteelyardError
from steelyard.evidence.payload_files import Entry

if TYPE_CHECKING:
    from steelyard.evidence.payload import Payload
    from steelyard.replay.steps import Made, Step

# Elements of a tensor, and characters of a text: enough to see what a step has done.
MAX_ELEMENTS = 16
MAX_CHARS = 80
MAX_LINE_CHARS = 300

# Files of larger versions take long to hash and to load: those are run where it is asked for.
MAX_VERSION_BYTES = 64 << 20


def steps_document(entry: Entry | None, repository: Path | None, wanted: bool | None) -> dict[str, Any]:
    """The steps as JSON, with a `note` that says why there are none, empty where there are.

    wanted: False: they are not run; None: they are where the version is small enough.
    """
    try:
        if wanted is False:
            raise EvidenceError("not asked for")
        return _document(_payload(entry), repository, bool(wanted))
    except SteelyardError as error:
        return {"note": str(error), "version": "", "equal": None, "why": "", "error": "", "steps": []}


def steps_lines(document: dict[str, Any]) -> list[str]:
    """The same for people, a line for each tensor; none where a version has no steps or they are not asked for."""
    lines = []
    for step in document["steps"]:
        about = f"{step['kind']} {step['name']}" if step["kind"] in ("prepare", "finish") else step["kind"]
        if not step["tensors"]:
            said = "; ".join([*step["found"], *([step["note"]] if step["note"] else [])])
            lines.append(f"{about}: {said or 'nothing found'}")
        for tensor in step["tensors"]:
            shape = ",".join(map(str, tensor["shape"]))
            shown = "" if tensor["values"] is None else " " + _values(tensor)
            note = f" ({tensor['note']})" if tensor["note"] else ""
            lines.append(f"{about}: {tensor['name']} {tensor['datatype']}[{shape}]{shown}{note}")
    if document["error"]:
        lines.append(f"ended with {document['error'][:MAX_LINE_CHARS]}")
    if document["steps"]:
        said = "the answer is the same" if document["equal"] else f"the answer is another: {document['why']}"
        if document["equal"] is None:
            said = f"the answer cannot be held against that of then: {document['why']}"
        lines.append(f"run again on {document['version']}: {said}"[:MAX_LINE_CHARS])
    return lines or [document["note"]]


def _payload(entry: Entry | None) -> "Payload":
    if entry is None:
        raise EvidenceError("nothing was captured of the request: [evidence.capture] in model.toml")
    if entry.head.erased:
        raise EvidenceError("what was captured of the request was erased")
    payload = entry.read()
    if not payload.kept:
        raise EvidenceError("only digests were kept of the request")
    return payload


def _document(payload: "Payload", repository: Path | None, whatever_size: bool) -> dict[str, Any]:
    from steelyard.models.manifest import MODEL_MANIFEST, read_model_manifest
    from steelyard.models.tree import walk
    from steelyard.models.version_manifest import VERSION_MANIFEST, read_version_manifest
    from steelyard.replay.steps import way_of
    from steelyard.replay.version import Versions

    if repository is None:
        raise EvidenceError("no repository is known: --repository")
    versions = Versions(repository, 1)
    found = repository / payload.model / str(payload.version)
    if not whatever_size and found.is_dir():
        size = sum((found / file.relative).stat().st_size for file in walk(str(found)))
        if size > MAX_VERSION_BYTES:
            raise EvidenceError(f"not run again, as version {payload.version} has {size >> 20} MiB: --steps")
    path = versions.find(payload.model, payload.version, payload.digest).path
    if not read_version_manifest(path / VERSION_MANIFEST).has_pipeline:
        raise EvidenceError("the version has no pipeline: what was asked is what the model gets")
    masks = read_model_manifest(repository / payload.model / MODEL_MANIFEST).evidence.capture.masks
    version = versions.by_content(payload.model, payload.version, payload.digest)
    way = way_of(payload, version, masks)
    return {
        "note": "",
        "version": version.name,
        "equal": way.equal,
        "why": way.why,
        "error": way.error,
        "steps": [_step(step) for step in way.steps],
    }


def _step(step: "Step") -> dict[str, Any]:
    return {
        "kind": step.kind,
        "name": step.name,
        "found": list(step.found),
        "note": step.note,
        "tensors": [_tensor(made) for made in step.made],
    }


def _tensor(made: "Made") -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": made.name,
        "datatype": made.datatype,
        "shape": list(made.shape),
        "columns": list(made.columns[:MAX_ELEMENTS]),
        "values": None,
        "more": False,
        "note": made.note,
    }
    if made.array is not None:
        flat = made.array.reshape(-1)
        first = flat[:MAX_ELEMENTS]
        if first.dtype == object:
            texts = [text[:MAX_CHARS] for text in first.tolist()]
            first = np.array([None, *texts], object)[1:]
        document |= {"values": json_values(first, made.datatype), "more": flat.size > MAX_ELEMENTS}
    return document


def _values(tensor: dict[str, Any]) -> str:
    """The first elements; of one row of named columns, with their names."""
    values, columns = tensor["values"], tensor["columns"]
    if columns and not tensor["more"] and len(columns) == len(values):
        shown = ", ".join(f"{name}={json.dumps(value)}" for name, value in zip(columns, values, strict=True))
    else:
        shown = json.dumps(values, ensure_ascii=False)
    cut = shown[:MAX_LINE_CHARS]
    return cut + (" ..." if tensor["more"] or len(cut) < len(shown) else "")
