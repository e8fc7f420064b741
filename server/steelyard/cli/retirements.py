"""`steelyard retirements`: when models go out of service."""

from pathlib import Path
from typing import Any

import click

from steelyard.cli.lives import events_until, today
from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import resolved, settings_options
from steelyard.evidence.life import Lives
from steelyard.evidence.retirements import Due
from steelyard.evidence.retirements import retirements as due_after


@click.command(
    epilog="\b\nExample:\n  steelyard retirements --data models/.steelyard\n"
    "  steelyard retirements --ical retirements.ics --data models/.steelyard"
)
@click.option(
    "--ical",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write an iCalendar file (RFC 5545) with a reminder 30 days before each.",
)
@click.option(
    "--within-days", type=click.IntRange(0, 100_000), metavar="N", help="Only those within so many days."
)
@settings_options("data")
@json_option
def retirements(
    ical: Path | None, within_days: int | None, config_file: Path | None, data: Path | None, as_json: bool
) -> None:
    """Show when models go out of service.

    Models and versions, the next first and those that are out of it last, of a server that runs or has been stopped.
    """
    directory = resolved(config_file, {"data": data}).settings.data
    on = today()
    events = events_until(directory)
    found = [
        due
        for due in due_after(Lives(events), on)
        if within_days is None or (not due.done and due.days <= within_days)
    ]
    if ical is not None:
        from steelyard.evidence.calendar import calendar

        made_ms = events[-1].unix_ms if events else 0
        ical.write_bytes(calendar([due for due in found if not due.done], made_ms))
    if as_json:
        print_json({"retirements": [_document(due) for due in found]})
        return
    rows = [
        [
            due.day,
            "" if due.done else str(due.days),
            due.name,
            due.why,
            due.owner,
            due.replacement,
            due.runbook,
        ]
        for due in found
    ]
    print_table(["last day", "days", "what", "why", "owner", "replacement", "runbook"], rows, right=["days"])


def _document(due: Due) -> dict[str, Any]:
    return {
        "model": due.model,
        "version": due.version or None,
        "day": due.day,
        "days": due.days,
        "done": due.done,
        "why": due.why,
        "owner": due.owner,
        "replacement": due.replacement,
        "runbook": due.runbook,
    }
