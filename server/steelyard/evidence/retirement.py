"""When a model or a version of it goes out of service, as the events say."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from steelyard.evidence.declared import COMMAND, RETIREMENT_DATED
from steelyard.evidence.event import Event

WARNED = "retirement.warned"
REACHED = "retirement.reached"
EXTENDED = "retirement.extended"
ANNOUNCED = "retirement.announced"
CANCELLED = "retirement.cancelled"
COMPLETED = "retirement.completed"
ARCHIVED = "retirement.archived"
SERVER_STARTED = "server.started"

# In the place of a version's number: all of a model's.
WHOLE = 0

# Days before the last one on which a warning is recorded, logged and posted.
WARNED_DAYS = (30, 7, 1)


@dataclass(frozen=True, slots=True)
class Retirement:
    """A retirement that somebody has asked for, of a version or of the whole model."""

    version: int
    """`WHOLE`, or a number."""
    digest: str
    replacement: str
    until_unix_ms: int
    """Callers are warned until then, and refused afterwards."""
    actor: str
    reason: str
    completed_unix_ms: int = 0
    """0: callers are still answered."""
    archive: str = ""
    """The directory in the data directory where its evidence is; empty: it is not there yet."""
    archive_problem: str = ""
    """Why the archive does not say which files its decisions are in; empty: it does."""


@dataclass(frozen=True, slots=True)
class Retiring:
    """Where a model stands: by the date that its owner has set, and by what was asked for."""

    retire_on: str | None = None
    """The last day, as YYYY-MM-DD. In production it only comes earlier by model.toml; later, by an extension."""
    dated: int = 0
    """The sequence of the event that has set it: what an extension names, so that it can be used once."""
    warned_days: int | None = None
    """The last of WARNED_DAYS that was warned of; None: none."""
    reached: str | None = None
    """"stop" or "serve", where `retire_on` was over; None: it was not."""
    goes_on: Mapping[int, str] = field(default_factory=dict)
    """Versions, and their content, that serve on though `retire_on` is over."""
    retirements: Mapping[int, Retirement] = field(default_factory=dict)


def applied(retiring: Retiring, event: Event) -> Retiring:
    """Where the model stands after `event`; events of other kinds change nothing."""
    details = event.details
    if event.kind == RETIREMENT_DATED and "retire_on" in details["changed"]:
        return _dated(retiring, event, details["changed"]["retire_on"]["to"], details["binding"])
    if event.kind == EXTENDED:
        return _set(retiring, event, details["retire_on"])
    if event.kind == WARNED:
        return replace(retiring, warned_days=details["days"])
    if event.kind == REACHED:
        goes_on = {int(number): digest for number, digest in details["goes_on"].items()}
        return replace(retiring, reached=details["after"], goes_on=goes_on)
    if event.kind == SERVER_STARTED:
        return replace(retiring, goes_on={})
    if event.kind in (ANNOUNCED, CANCELLED, COMPLETED, ARCHIVED):
        return replace(retiring, retirements=_retirements(retiring.retirements, event))
    return retiring


def is_later(one: str, other: str) -> bool:
    """Whether a day, as YYYY-MM-DD, comes after another."""
    return datetime.date.fromisoformat(one) > datetime.date.fromisoformat(other)


def _dated(retiring: Retiring, event: Event, day: str | None, binding: bool) -> Retiring:
    now = retiring.retire_on
    if (
        binding
        and event.details["source"] != COMMAND
        and now is not None
        and (day is None or is_later(day, now))
    ):
        return retiring
    return _set(retiring, event, day)


def _set(retiring: Retiring, event: Event, day: str | None) -> Retiring:
    return replace(retiring, retire_on=day, dated=event.sequence, warned_days=None, reached=None, goes_on={})


def _retirements(known: Mapping[int, Retirement], event: Event) -> Mapping[int, Retirement]:
    details: Mapping[str, Any] = event.details
    version = details["version"]
    others = {number: one for number, one in known.items() if number != version}
    if event.kind == CANCELLED:
        return others
    if event.kind == ANNOUNCED:
        announced = Retirement(
            version=version,
            digest=event.digest,
            replacement=details["replacement"],
            until_unix_ms=details["until_unix_ms"],
            actor=event.actor,
            reason=event.reason,
        )
        return {**others, version: announced}
    if version not in known:
        return known
    if event.kind == COMPLETED:
        return {**others, version: replace(known[version], completed_unix_ms=event.unix_ms)}
    archived = replace(known[version], archive=details["path"], archive_problem=details.get("problem", ""))
    return {**others, version: archived}
