"""`steelyard sql`: a SELECT over what is recorded."""

from pathlib import Path

import click

from steelyard.cli.evidence import documents, need_extra, shown, warn_of_unlisted
from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import resolved, settings_options
from steelyard.evidence.apart import apart


@click.command(
    epilog='\b\nExample:\n  steelyard sql "SELECT version, count(*), quantile_cont(total_ms, 0.99) FROM decisions '
    "WHERE model = 'prices' GROUP BY version\""
)
@click.argument("query")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="At most so many rows.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.01, 3600),
    default=60.0,
    show_default=True,
    help="Seconds it may take.",
)
@settings_options("data")
@json_option
def sql(
    query: str, limit: int, timeout: float, config_file: Path | None, data: Path | None, as_json: bool
) -> None:
    """Ask what was decided by SQL.

    QUERY is one SELECT in DuckDB's dialect over decisions, notes and flags (docs/journal.md). It changes nothing and
    opens no other file.
    """
    need_extra()
    directory = resolved(config_file, {"data": data}).settings.data
    found = apart("steelyard.cli.reading:search_sql", directory, query, limit, timeout)
    warn_of_unlisted(found["unlisted"])
    if as_json:
        print_json({"rows": documents(found["columns"], found["rows"]), "more": found["more"]})
        return
    print_table(found["columns"], [[shown(value) for value in row] for row in found["rows"]])
    if found["more"]:
        click.echo(f"(the first {limit}; there are more: --limit)")
