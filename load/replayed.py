"""A file of moments and lengths at which requests came, to be replayed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.errors import ConfigError

# Twenty million lines of twelve characters; a file that is longer is none that was meant.
MAX_TRACE_BYTES = 256 << 20
MAX_LENGTH = 1 << 30


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests by when they came; the first one's moment is 0."""

    seconds: np.ndarray[Any, Any]
    """float64, ascending."""
    length: np.ndarray[Any, Any]
    """int64; 0 where the file does not say."""
    request: list[str]
    """Names of kinds of requests; empty where the file does not say."""


def read_trace(path: Path, max_requests: int) -> Trace:
    """The trace at `path`: lines of `seconds[,length[,request]]` in any order, empty ones and those with # aside.

    Raises ConfigError, with the line, for what is none.
    """
    seconds: list[float] = []
    lengths: list[int] = []
    requests: list[str] = []
    try:
        if path.stat().st_size > MAX_TRACE_BYTES:
            raise ConfigError(f"{path}: expected at most {MAX_TRACE_BYTES} bytes, got more")
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                text = line.strip()
                if not text or text.startswith("#"):
                    continue
                if len(seconds) >= max_requests:
                    raise ConfigError(f"{path}: expected at most {max_requests} requests, got more")
                second, length, request = _row(path, number, text)
                seconds.append(second)
                lengths.append(length)
                requests.append(request)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8, got byte 0x{error.object[error.start]:02x}") from None
    if not seconds:
        raise ConfigError(f"{path}: expected lines of seconds[,length[,request]], got none")
    order = np.argsort(seconds, kind="stable")
    moments = np.array(seconds)[order]
    named = [requests[place] for place in order] if any(requests) else []
    return Trace(moments - moments[0], np.array(lengths, np.int64)[order], named)


def _row(path: Path, number: int, text: str) -> tuple[float, int, str]:
    columns = [column.strip() for column in text.split(",")]
    try:
        if len(columns) > 3:
            raise ValueError
        second = float(columns[0])
        length = int(columns[1]) if len(columns) > 1 and columns[1] else 0
    except ValueError:
        raise ConfigError(
            f"{path}, line {number}: expected seconds[,length[,request]], got {text[:80]!r}"
        ) from None
    if not np.isfinite(second) or not 0 <= length <= MAX_LENGTH:
        raise ConfigError(
            f"{path}, line {number}: expected finite seconds and a length of 0 to {MAX_LENGTH}, got {text[:80]!r}"
        )
    return second, length, columns[2] if len(columns) == 3 else ""
