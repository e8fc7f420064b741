"""What commands share that look into what is recorded."""

import datetime
import uuid
from collections.abc import Sequence
from typing import Any

from steelyard.errors import ConfigError

INSTALL = "pip install 'steelyard[evidence]'"


def need_extra() -> None:
    """Raises ConfigError where what reads sealed files is not installed."""
    try:
        import duckdb  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"what is recorded cannot be searched without {error.name}: {INSTALL}") from None


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
