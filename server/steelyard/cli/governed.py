"""The keys of `[governance]` as options of a command."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from steelyard.models.governance import Governance
from steelyard.toml import describe_problems

F = TypeVar("F", bound=Callable[..., Any])

TEXTS = (
    "owner",
    "backup_owner",
    "tier",
    "purpose",
    "intended_use",
    "restrictions",
    "developed_by",
    "validated_by",
    "retirement_runbook",
    "replacement",
)
DATES = ("retire_on", "last_validation", "next_validation")


def governance_options(command: F) -> F:
    """An option for each key of `[governance]`; the command gets them as keyword arguments, None where not given."""
    for name in reversed((*TEXTS, *DATES)):
        is_date = name in DATES
        command = click.option(
            f"--{name.replace('_', '-')}",
            name,
            metavar="DATE" if is_date else "TEXT",
            type=click.DateTime(["%Y-%m-%d"]) if is_date else str,
            help=Governance.model_fields[name].description,
        )(command)
    return command


def governance_of(given: Mapping[str, Any]) -> Governance:
    """`[governance]` of what options say. Raises click.UsageError that names each that a production server misses."""
    keys = {
        key: value.date() if isinstance(value, datetime.datetime) else value
        for key, value in given.items()
        if value is not None
    }
    try:
        governance = Governance.model_validate(keys)
    except ValidationError as error:
        raise click.UsageError(f"[governance] {'; '.join(describe_problems(error, Governance))}") from None
    if governance.missing:
        options = ", ".join(f"--{key.replace('_', '-')}" for key in governance.missing)
        raise click.UsageError(
            f"a server in profile 'production' serves no model that nobody owns: expected {options} too"
        )
    return governance
