"""What commands share that look into what is recorded."""

import datetime
import importlib.util
import uuid
from collections.abc import Sequence
from typing import Any

import click

from steelyard.errors import ConfigError
from steelyard.observe.logs import printable

# Somebody who puts files there may put in many.
UNLISTED_SHOWN = 8

INSTALL = "pip install 'steelyard[evidence]'"


def need_extra() -> None:
    """Raises ConfigError where what reads sealed files is not installed."""
    # They are imported where sealed files are read, which is not in this process.
    for name in ("duckdb", "pyarrow"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"what is recorded cannot be searched without {name}: {INSTALL}")


def warn_of_unlisted(files: Sequence[str]) -> None:
    """Says which files were read though the ledger does not say that a server sealed them."""
    more = len(files) - UNLISTED_SHOWN
    named = ", ".join(files[:UNLISTED_SHOWN]) + (f" and {more} more" if more > 0 else "")
    if files:
        told = f"not in the ledger of sealed files: {named}: steelyard audit verify says whether they were sealed"
        click.echo(printable(told), err=True)


def plain(value: Any) -> Any:
    """A value of a query as JSON has it."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="microseconds") + ("" if value.tzinfo else "Z")
    if isinstance(value, uuid.UUID | datetime.date | datetime.time | datetime.timedelta):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, float) and value not in (value, float("inf"), float("-inf")):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def shown(value: Any) -> str:
    """A value of a query as a table shows it."""
    value = plain(value)
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def documents(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """The rows of a query as JSON objects."""
    return [{name: plain(value) for name, value in zip(columns, row, strict=True)} for row in rows]
