"""Events as commands show them."""

import datetime
import json
from typing import Any

import click

from steelyard.cli.output import print_json
from steelyard.observe.logs import printable
from steelyard.rollout.trials import name_of

# Details that a line about an event shows, where it has them.
_SHOWN = (
    "share",
    "sample",
    "outcome",
    "verdict",
    "pairs",
    "requests",
    "away_ms",
    "back_ms",
    "answered",
    "failed",
    "golden_passed",
    "problem",
    "retire_on",
    "after",
    "replacement",
    "path",
    "profile",
    "release",
    "by",
    "decision",
)

# Of a value in a line about an event.
_MAX_VALUE_CHARS = 60


def when(unix_ms: int) -> str:
    """A time in the reader's own zone, to the second."""
    return datetime.datetime.fromtimestamp(unix_ms / 1000).astimezone().isoformat(sep=" ", timespec="seconds")


def document(message: Any) -> dict[str, Any]:
    """An event's message as JSON."""
    return {
        "sequence": message.sequence,
        "unix_ms": message.unix_ms,
        "kind": message.kind,
        "model": message.model,
        "actor": message.actor,
        "reason": message.reason,
        "digest": message.digest,
        "details": json.loads(message.details),
    }


def told(event: dict[str, Any]) -> str:
    """What an event did, in a line."""
    details = event["details"]
    parts = []
    if "changed" in details:
        parts += [
            f"{key}: {_value(one['from'])} -> {_value(one['to'])}" for key, one in details["changed"].items()
        ]
    if "version" in details and "label" not in details:
        parts.append(f"version {details['version']}" if details["version"] else "all versions")
    if "label" in details:
        parts.append(f"{details['label']}: {_version(details['from'])} -> {_version(details['to'])}")
    if "candidate" in details:
        parts.append(f"candidate {name_of(details['candidate'])}")
    parts += [f"{name} {details[name]}" for name in _SHOWN if name in details and details[name] != ""]
    if "decisions" in details:
        parts.append(f"{len(details['decisions'])} decisions")
        if details.get("failures"):
            parts.append(f"{details['failures']} failures")
    return ", ".join(parts)


def moved(message: Any, as_json: bool) -> None:
    """Prints the event that a change became."""
    event = document(message)
    if as_json:
        print_json(event)
    else:
        click.echo(printable(f"{event['model']}: {event['kind']} {told(event)} (event {event['sequence']})"))


def _value(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[: _MAX_VALUE_CHARS - 3]}..."


def _version(holder: dict[str, Any] | None) -> str:
    return "nothing" if holder is None else f"version {holder['version']}"
