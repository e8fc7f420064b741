"""The option of commands that write the step `table`."""

import click

rows_option = click.option(
    "--rows",
    type=click.Choice(["columns", "json", "arrow"]),
    default="columns",
    show_default=True,
    help="How callers send rows: a tensor a column, JSON objects, or an Arrow record batch.",
)
