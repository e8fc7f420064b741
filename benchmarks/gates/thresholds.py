"""The thresholds of the gates, read from the file beside this one."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("thresholds.toml")
KEYS = {"least", "measured", "on"}


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a gate's ratio must not fall below, and what that was chosen by."""

    least: float
    measured: float
    on: str


def read(file: Path = FILE) -> dict[str, Threshold]:
    """By the name of the gate; raises ValueError where the file is not as it should be."""
    try:
        document = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file}: {error}") from None
    found = {}
    for name, table in document.items():
        if not isinstance(table, dict) or set(table) != KEYS:
            raise ValueError(
                f"{file}: expected a table [{name}] of {', '.join(sorted(KEYS))}, came {table!r}"
            )
        threshold = Threshold(float(table["least"]), float(table["measured"]), str(table["on"]))
        if not 0 < threshold.least < threshold.measured:
            raise ValueError(
                f"{file}: [{name}]: expected 0 < least < measured, came {threshold.least} and {threshold.measured}"
            )
        found[name] = threshold
    return found
