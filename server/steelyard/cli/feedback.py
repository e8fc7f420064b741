"""`steelyard feedback`: what became known of a decision after it was made."""

import json
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from steelyard.cli.evidence import need_extra, warn_of_unlisted
from steelyard.cli.named import the_only_one
from steelyard.cli.output import json_option, print_json
from steelyard.cli.settings import resolved, settings_options
from steelyard.evidence.apart import apart


@click.group(
    epilog="\b\nExample:\n  steelyard feedback add order-4711 --value true --source sales --data models/.steelyard"
)
def feedback() -> None:
    """Say what became known of a decision later.

    That is its label, or what somebody thought of its answer.

    Every command of it takes --json.
    """


@feedback.command(
    epilog="\b\nExample:\n  steelyard feedback add 01976f3e-2c1b-7a41-9a55-6f1d8e0c7b22 --value 412.5 --source sales\n"
    '  steelyard feedback add order-4711 --value \'{"label": "fraud"}\' --source chargebacks'
)
@click.argument("name", metavar="ID")
@click.option(
    "--value", required=True, metavar="JSON", help="What is known: a number, a text in quotes, any JSON."
)
@click.option("--source", required=True, metavar="NAME", help="Who or what says so.")
@settings_options("data")
@json_option
def add(
    name: str, value: str, source: str, config_file: Path | None, data: Path | None, as_json: bool
) -> None:
    """Add a label or feedback to a decision.

    ID is the decision's id, or what its caller named the request, where that was one only. It is refused where nothing
    of that name is recorded. What was added stays: a correction is added behind it. On a server that runs or not.
    """
    need_extra()
    from steelyard.clock import SystemClock
    from steelyard.evidence.feedback import add_feedback

    try:
        known = json.loads(value, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--value: expected JSON, got {value[:80]!r}: {error}") from None
    directory = resolved(config_file, {"data": data}).settings.data
    found = apart("steelyard.cli.reading:ids_named", directory, name)
    warn_of_unlisted(found["unlisted"])
    decision_id = the_only_one(name, found["decisions"])
    added = add_feedback(directory, uuid.UUID(decision_id), known, source, SystemClock())
    if as_json:
        print_json(asdict(added))
    else:
        click.echo(f"{added.decision_id}: added")


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
