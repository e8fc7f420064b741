"""What commands print: tables for people, JSON for programs, and one line for an error."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import click

from steelyard.observe.logs import printable

F = TypeVar("F", bound=Callable[..., Any])

# Columns of a table that goes into a file or a pipe, where no terminal says how many it has.
PIPE_COLUMNS = 200


def json_option(command: F) -> F:
    """The option --json, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def print_json(value: object) -> None:
    """Prints `value` as one line."""
    click.echo(json.dumps(value, allow_nan=False))
    sys.stdout.flush()


def report_error(message: str, as_json: bool) -> None:
    """Prints an error to stderr as one line."""
    line = printable(" ".join(message.split()))
    click.echo(json.dumps({"error": line}) if as_json else f"error: {line}", err=True)


def short_digest(digest: str) -> str:
    """As much of "sha256:..." as people compare."""
    return digest.removeprefix("sha256:")[:10]


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
    """Prints a table; the columns named in `right` are numbers. What has no room is folded."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    to_right = frozenset(right)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in to_right else "left"
        table.add_column(column, justify=justify, overflow="fold", min_width=len(column))
    for row in rows:
        table.add_row(*(Text("\n".join(map(printable, cell.split("\n")))) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_COLUMNS)
    console.print(table)
