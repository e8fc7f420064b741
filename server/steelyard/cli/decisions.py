"""`steelyard decisions`: those that are recorded, by model, time and condition."""

from pathlib import Path
from typing import Any

import click

from steelyard.cli.evidence import documents, need_extra, shown, warn_of_unlisted
from steelyard.cli.moment import moment
from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import resolved, settings_options
from steelyard.evidence.apart import apart

_SHOWN = (
    "received",
    "decision_id",
    "model",
    "version",
    "outcome",
    "reason",
    "total_ms",
    "queue_ms",
    "rows",
    "caller",
    "request_id",
)
_NUMBERS = ("version", "total_ms", "queue_ms", "rows")


@click.command(
    epilog='\b\nExample:\n  steelyard decisions --model prices --since 2h --where "version=3 and total_ms>50"\n'
    "  steelyard decisions --model prices --where \"flag='age'\" --limit 5 --json"
)
@click.option("--model", default="", metavar="MODEL", help="Only decisions of this model.")
@click.option(
    "--since",
    callback=moment,
    metavar="WHEN",
    help="Only later ones: 30m, 2h, 7d ago, or a time such as 2027-03-31T12:00.",
)
@click.option("--until", callback=moment, metavar="WHEN", help="Only earlier ones.")
@click.option("--where", default="", metavar="SQL", help="Only those for which this is true; see journal.md.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="The last so many."
)
@settings_options("data")
@json_option
def decisions(
    model: str,
    since: int | None,
    until: int | None,
    where: str,
    limit: int,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Search what was decided, the last first.

    Of a server that runs or has been stopped: what is sealed, and what the journal holds beside it.
    """
    need_extra()
    asked: dict[str, Any] = {"model": model, "since_unix_ns": (since or 0) * 1_000_000, "where": where}
    if until is not None:
        asked["until_unix_ns"] = until * 1_000_000
    directory = resolved(config_file, {"data": data}).settings.data
    found = apart("steelyard.cli.reading:search_decisions", directory, asked, limit)
    warn_of_unlisted(found["unlisted"])
    if as_json:
        print_json({"decisions": documents(found["columns"], found["rows"]), "more": found["more"]})
        return
    places = [found["columns"].index(name) for name in _SHOWN]
    print_table(_SHOWN, [[shown(row[place]) for place in places] for row in found["rows"]], right=_NUMBERS)
    if found["more"]:
        click.echo(f"(the last {limit}; there are more: --limit)")
