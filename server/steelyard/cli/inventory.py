"""`steelyard inventory`: models, their versions and who answers for them, today or on an earlier day."""

import csv
import datetime
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import click

from steelyard.cli.lives import DAY, events_until, today
from steelyard.cli.output import json_option, print_json, print_table, short_digest
from steelyard.cli.settings import resolved, settings_options
from steelyard.evidence.event import Event
from steelyard.evidence.inventory import Entry
from steelyard.evidence.inventory import inventory as entries_after

COLUMNS = (
    "model",
    "version",
    "digest",
    "state",
    "labels",
    "owner",
    "tier",
    "validated_by",
    "retire_on",
    "missing",
)


@click.command(
    epilog="\b\nExample:\n  steelyard inventory --data models/.steelyard\n"
    "  steelyard inventory --at 2026-06-30 --format csv --data models/.steelyard > inventory.csv\n"
    "  steelyard inventory --format spdx --data models/.steelyard > inventory.spdx.json"
)
@click.option("--at", "day", type=DAY, metavar="DATE", help="As it stood at the end of that day, in UTC.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "spdx"]),
    default="table",
    show_default=True,
    help="spdx: SPDX 3.0.1 as JSON-LD, with its AI profile.",
)
@settings_options("data")
@json_option
def inventory(
    day: datetime.datetime | None, form: str, config_file: Path | None, data: Path | None, as_json: bool
) -> None:
    """List models, their versions and who answers for them.

    As the events of a data directory say, of a server that runs or has been stopped.
    """
    directory = resolved(config_file, {"data": data}).settings.data
    on = today() if day is None else day.date()
    events = events_until(directory, None if day is None else on)
    found = list(entries_after(events, _labels(events), on))
    printed: dict[str, Callable[[], None]] = {
        "table": lambda: _table(found),
        "json": lambda: print_json({"at": on.isoformat(), "versions": [asdict(entry) for entry in found]}),
        "csv": lambda: _csv(found),
        "spdx": lambda: _spdx(found, events),
    }
    printed["json" if as_json else form]()


def _labels(events: Sequence[Event]) -> dict[str, dict[str, int]]:
    from steelyard.rollout.labels import fold

    return {
        model: {name: label.holder.number for name, label in known.labels.items()}
        for model, known in fold(events).items()
    }


def _table(found: Sequence[Entry]) -> None:
    rows = []
    for entry in found:
        cells = {key: str(getattr(entry, key)) for key in COLUMNS}
        rows.append([short_digest(cell) if key == "digest" else cell for key, cell in cells.items()])
    print_table([column.replace("_", " ") for column in COLUMNS], rows, right=["version"])


def _csv(found: Sequence[Entry]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(field.name for field in fields(Entry))
    writer.writerows([_cell(value) for value in asdict(entry).values()] for entry in found)
    sys.stdout.write(text.getvalue())


def _cell(value: object) -> str:
    """A spreadsheet takes a text that begins like a formula for one."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _spdx(found: Sequence[Entry], events: Sequence[Event]) -> None:
    from steelyard.evidence.spdx import document

    made_ms = events[-1].unix_ms if events else 0
    click.echo(json.dumps(document(found, made_ms), indent=1, ensure_ascii=False))
