"""What manifests, settings and owners have declared, and each change of it: values by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.evidence.event import Draft

OWNER_CHANGED = "owner.changed"
VALIDATION_CHANGED = "validation.changed"
RETIREMENT_DATED = "retirement.dated"
GOVERNANCE_CHANGED = "governance.changed"
CONFIGURATION_CHANGED = "configuration.changed"

# Where a change was found.
MANIFEST = "model.toml"
COMMAND = "command"
SETTINGS = "settings"

GOVERNANCE_KINDS = (OWNER_CHANGED, VALIDATION_CHANGED, RETIREMENT_DATED, GOVERNANCE_CHANGED)

# A manifest has a mebibyte at the most, and an event a quarter of one: longer values are told by their length.
MAX_VALUE_CHARS = 4096
MAX_CHANGES = 32

_KIND_OF = {
    "owner": OWNER_CHANGED,
    "backup_owner": OWNER_CHANGED,
    "developed_by": VALIDATION_CHANGED,
    "validated_by": VALIDATION_CHANGED,
    "last_validation": VALIDATION_CHANGED,
    "next_validation": VALIDATION_CHANGED,
    "retire_on": RETIREMENT_DATED,
}

Values = Mapping[str, Any]
"""JSON by name; a name that is not there has its default."""


def kind_of(key: str) -> str:
    """The kind of the event that a change of this key of `[governance]` is."""
    return _KIND_OF.get(key, GOVERNANCE_CHANGED)


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested tables, by their path with dots; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[prefix + key] = _bounded(value)
    return found


def changes(before: Values, now: Values) -> dict[str, dict[str, Any]]:
    """By name, what is another value than before: `from` and `to`, None where there is none."""
    return {
        key: {"from": before.get(key), "to": now.get(key)}
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    }


def drafts(
    model: str,
    changed: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[str, str],
    actor: str,
    source: str,
    reason: str,
    **more: Any,
) -> list[Draft]:
    """The events of these changes, one a kind, or several where they are many.

    kinds: the kind of each changed name. more: what else the details hold.
    """
    by_kind: dict[str, list[str]] = {}
    for key in changed:
        by_kind.setdefault(kinds[key], []).append(key)
    return [
        Draft(
            kind,
            model,
            actor,
            reason,
            details={"changed": {key: changed[key] for key in some}, "source": source, **more},
        )
        for kind, keys in by_kind.items()
        for some in _parts(keys)
    ]


def after(values: Values, changed: Mapping[str, Mapping[str, Any]]) -> Values:
    """The values after these changes."""
    found = {**values, **{key: change["to"] for key, change in changed.items()}}
    return {key: value for key, value in found.items() if value is not None}


def _parts(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + MAX_CHANGES] for start in range(0, len(keys), MAX_CHANGES)]


def _bounded(value: Any) -> Any:
    size = len(str(value))
    return value if size <= MAX_VALUE_CHARS else f"{str(value)[:256]}... ({size} characters)"
