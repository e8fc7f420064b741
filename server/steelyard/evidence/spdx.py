"""The inventory as an SPDX 3.0.1 document in JSON-LD, with the AI profile: an AIPackage for each version.

https://spdx.github.io/spdx-spec/v3.0.1/model/AI/AI/
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from steelyard import __version__
from steelyard.clock import rfc3339
from steelyard.evidence.inventory import Entry

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
CREATION = "_:creation"
NOBODY = "NOASSERTION"

# The digest is none of a file, so that whoever compares it has to know what it is of.
_DIGEST = "SHA-256 over the sorted lines 'path NUL sha256' of every file of the version"


def document(entries: Sequence[Entry], made_unix_ms: int) -> dict[str, Any]:
    """The document; the same inventory is the same text. made_unix_ms: when the last event was that it tells of."""
    whole = json.dumps([asdict(entry) for entry in entries], sort_keys=True)
    base = f"urn:steelyard:inventory:{hashlib.sha256(whole.encode()).hexdigest()[:32]}"
    tool = f"{base}:tool"
    agents = {entry.owner or NOBODY: f"{base}:agent:{_short(entry.owner or NOBODY)}" for entry in entries}
    packages = [_package(entry, base, agents[entry.owner or NOBODY]) for entry in entries]
    creation = {
        "type": "CreationInfo",
        "@id": CREATION,
        "specVersion": "3.0.1",
        "created": rfc3339(made_unix_ms),
        "createdBy": [tool],
    }
    named: list[dict[str, Any]] = [
        {"type": "SoftwareAgent", "spdxId": tool, "name": f"steelyard {__version__}"},
        *({"type": "Agent", "spdxId": one, "name": name} for name, one in sorted(agents.items())),
        *packages,
    ]
    about = {
        "type": "SpdxDocument",
        "spdxId": f"{base}:document",
        "name": "Models in service",
        "profileConformance": ["core", "software", "ai"],
        "rootElement": [package["spdxId"] for package in packages],
        "element": [one["spdxId"] for one in named],
    }
    elements = [{**one, "creationInfo": CREATION} for one in (about, *named)]
    return {"@context": CONTEXT, "@graph": [creation, *elements]}


def _package(entry: Entry, base: str, agent: str) -> dict[str, Any]:
    training = {"parent": entry.parent, "data": entry.training_data_digest, "code": entry.code_revision}
    found = {
        "type": "ai_AIPackage",
        "spdxId": f"{base}:model:{_short(entry.model)}:{entry.version}",
        "name": entry.model,
        "software_packageVersion": str(entry.version),
        "software_primaryPurpose": "model",
        "software_downloadLocation": NOBODY,
        "releaseTime": entry.registered,
        "suppliedBy": agent,
        "verifiedUsing": [
            {
                "type": "Hash",
                "algorithm": "sha256",
                "hashValue": entry.digest.removeprefix("sha256:"),
                "comment": _DIGEST,
            }
        ]
        if entry.digest
        else [],
        "summary": entry.purpose,
        "ai_informationAboutApplication": entry.intended_use or entry.purpose,
        "ai_limitation": entry.restrictions,
        "ai_informationAboutTraining": _lines(training),
        "validUntilTime": f"{entry.retire_on}T23:59:59Z" if entry.retire_on else "",
        "comment": _lines(
            {
                "state": entry.state,
                "labels": entry.labels,
                "tier": entry.tier,
                "developed by": entry.developed_by,
                "validated by": entry.validated_by,
                "last validation": entry.last_validation,
                "next validation": entry.next_validation,
                "approved by": entry.approved_by,
                "replacement": entry.replacement,
            }
        ),
    }
    return {key: value for key, value in found.items() if value}


def _lines(named: dict[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in named.items() if value)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
