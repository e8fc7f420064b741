"""What is kept of a decision's request and answer, as `steelyard explain` shows it: masked, as it was written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steelyard.cli.values import json_values
from steelyard.errors import ConfigError, EvidenceError, SteelyardError
from steelyard.evidence.payload_files import Entry, find_all
from steelyard.models.datatypes import BY_NAME
from steelyard.wire import decode_bytes_tensor, decode_request, decode_response

if TYPE_CHECKING:
    from steelyard.evidence.payload import Payload
    from steelyard.replay.attributing import Explained

# Elements of a tensor, and characters of a text: what people look at. `steelyard replay` takes all of it.
MAX_ELEMENTS = 256
MAX_CHARS = 4096


def kept_entry(data: Path, decision_id: str) -> Entry | None:
    """Where the decision's payload is, None where nothing was kept of it. One that has its contents comes first."""
    try:
        entries = find_all(data, decision_id)
    except EvidenceError as error:
        if "; damaged: " in str(error):
            raise
        return None
    return max(entries, key=lambda entry: (not entry.head.erased, entry.head.request_bytes))


def payload_document(entry: Entry | None) -> dict[str, Any] | None:
    """The payload as JSON; None where nothing was kept."""
    if entry is None:
        return None
    if entry.head.erased:
        return {"erased": True}
    payload = entry.read()
    document: dict[str, Any] = {
        "erased": False,
        "kept": payload.kept,
        "reasons": list(payload.reasons),
        "masked": list(payload.masked),
        "inputs": [],
        "outputs": [],
        "parameters": {},
        "error": "",
    }
    if payload.kept:
        document["inputs"] = tensor_documents(decode_request(payload.request).inputs)
        if payload.status:
            document["error"] = payload.answer.decode("utf-8", "replace")[:MAX_CHARS]
        else:
            answer = decode_response(payload.answer)
            document["outputs"] = tensor_documents(answer.outputs)
            document["parameters"] = dict(answer.parameters)
    return document


def attributed(entry: Entry | None, repository: Path | None, row: int) -> "Explained":
    """What the answer to one row came of. Raises a `SteelyardError` that says why that cannot be told."""
    from steelyard.replay.attributing import attribute
    from steelyard.replay.version import Versions

    if repository is None:
        raise ConfigError("--attribute: no repository is known: --repository")
    payload = _whole(entry)
    version = Versions(repository, 1).by_content(payload.model, payload.version, payload.digest)
    return attribute(version, payload.request, row)


def _whole(entry: Entry | None) -> "Payload":
    if entry is None:
        raise EvidenceError("--attribute: nothing was kept of the request: [evidence.capture] in model.toml")
    payload = entry.read()
    if not payload.kept:
        raise EvidenceError("--attribute: only digests were kept of the request")
    if payload.status:
        raise EvidenceError("--attribute: the request got no answer")
    return payload


def tensor_documents(tensors: Any) -> list[dict[str, Any]]:
    """Tensors of a message as JSON, with their first elements."""
    return [
        {"name": one.name, "datatype": one.datatype, "shape": list(one.shape), **_elements(one)}
        for one in tensors
    ]


def _elements(tensor: Any) -> dict[str, Any]:
    """The first elements, in their order, and whether there are more."""
    try:
        if tensor.datatype == "BYTES":
            texts = decode_bytes_tensor(tensor.data)
            values: Any = np.array([None, *[text[:MAX_CHARS] for text in texts[:MAX_ELEMENTS]]], object)[1:]
            count = len(texts)
        else:
            array = np.frombuffer(tensor.data, BY_NAME[tensor.datatype].dtype)
            values, count = array[:MAX_ELEMENTS], len(array)
    except (SteelyardError, KeyError, ValueError) as error:
        return {"values": None, "more": False, "problem": str(error)}
    return {"values": json_values(values, tensor.datatype), "more": count > MAX_ELEMENTS}
