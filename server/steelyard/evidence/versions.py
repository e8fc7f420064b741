"""Which versions of a model there are and were, as the events say."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from steelyard.evidence.event import Event

REGISTERED = "version.registered"
LOADED = "version.loaded"
UNLOADED = "version.unloaded"
REFUSED = "version.refused"
APPROVED = "version.approved"


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody has said that a version may be used."""

    actor: str
    reason: str
    unix_ms: int


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A version with the content that it last had."""

    number: int
    digest: str
    registered_unix_ms: int
    lineage: Mapping[str, Any] = field(default_factory=dict)
    approval: Approval | None = None
    loaded: bool = False
    """Whether it was served when the server last said so."""


Versions = Mapping[int, KnownVersion]
"""By number."""


def applied(versions: Versions, event: Event) -> Versions:
    """The versions after `event`; events of other kinds change nothing."""
    if event.kind not in (REGISTERED, LOADED, UNLOADED, APPROVED):
        return versions
    number = event.details["version"]
    if event.kind == REGISTERED:
        new = KnownVersion(number, event.digest, event.unix_ms, event.details["lineage"])
        return {**versions, number: new}
    known = versions.get(number)
    if known is None or (known.digest != event.digest and event.kind != UNLOADED):
        return versions
    if event.kind == APPROVED:
        approval = Approval(event.actor, event.reason, event.unix_ms)
        return {**versions, number: replace(known, approval=approval)}
    return {**versions, number: replace(known, loaded=event.kind == LOADED)}
