"""Structured logs on the standard `logging`: an event and its fields, as JSON lines or as text for people."""

import atexit
import json
import logging
import math
import re
import sys
import threading
import time
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Literal, TextIO

Style = Literal["auto", "json", "text"]

# A field may hold what a caller sent, such as a model's name; no line may grow with it.
MAX_VALUE_CHARS = 2048
# Of a list, so that a line stays below some hundred kilobytes whatever is in it.
MAX_LIST_ITEMS = 64
# Lines that wait for a slow reader of stderr: some megabytes at most. Past it they are dropped and counted,
# because a log that nobody reads must not stop the requests.
MAX_WAITING_LINES = 8192
CLOSE_SECONDS = 2.0

_BARE = re.compile(r"[^\s\"'=\\]+")
_OWN_KEYS = frozenset({"time", "level", "logger", "process", "event", "exception"})


_LOGGER = logging.getLogger("steelyard")


def log(event: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Logs an event with its fields; about a request, its `decision_id` is among them. Never raises."""
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, "%s", event, extra={"fields": fields})


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, Mapping) else {}


def _utc(record: logging.LogRecord) -> str:
    # record.msecs is rounded apart from created and can come out as 1000.
    seconds, ms = divmod(int(record.created * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{ms:03d}Z"


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "..."


def _text(value: object) -> str:
    try:
        return _bounded(str(value))
    except Exception as error:
        return f"<{type(value).__name__} without text: {type(error).__name__}>"


def _plain(value: object) -> object:
    """The value as JSON knows it. Numbers that JSON cannot write become text, and so does all but scalars and lists."""
    if isinstance(value, list | tuple):
        items = [_scalar(item) for item in value[:MAX_LIST_ITEMS]]
        return items if len(items) == len(value) else [*items, f"... {len(value) - len(items)} more"]
    return _scalar(value)


def _scalar(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return _text(value)


def printable(text: str) -> str:
    """The text on one line: whatever could move the cursor, break the line or turn it round is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _quoted(value: object) -> str:
    text = _text(value)
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII. A field named like one of the line's own begins with `field_`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "event": _bounded(record.getMessage()),
        }
        for key, value in _fields(record).items():
            name = _text(key)
            line[f"field_{name}" if name in _OWN_KEYS else name] = _plain(value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """One line for people; a traceback follows behind bars, so that none of its lines passes for an event."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        parts = [
            _utc(record),
            f"{record.levelname.lower():<8}",
            f"[{self._process}]",
            printable(_bounded(record.getMessage())),
        ]
        parts += [f"{_quoted(key)}={_quoted(value)}" for key, value in _fields(record).items()]
        text = " ".join(parts)
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            text = "\n".join([text, *(f"    | {printable(line)}" for line in trace)])
        return text


class LineWriter(logging.Handler):
    """Formats where the event happens, writes on its own thread, drops and counts what it cannot hold."""

    def __init__(
        self, stream: TextIO, formatter: logging.Formatter, max_lines: int = MAX_WAITING_LINES
    ) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.dropped = 0
        self._stream = stream
        self._max_lines = max_lines
        # A signal handler may put while it has interrupted another put; there a Queue would lock up.
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Puts the line where the writer takes it. Never waits, never raises."""
        if self._lines.qsize() >= self._max_lines:
            self.dropped += 1
            return
        try:
            self._lines.put(self.format(record))
        except Exception:
            self.dropped += 1

    def close(self) -> None:
        """Writes what waits, for at most CLOSE_SECONDS, and stops the thread."""
        if self._thread.is_alive():
            self._lines.put(None)
            self._thread.join(CLOSE_SECONDS)
        super().close()

    def _write_all(self) -> None:
        told = 0
        while (line := self._lines.get()) is not None:
            self._write(line)
            if self.dropped > told:
                told = self.dropped
                self._write(self._notice(told))

    def _write(self, line: str) -> None:
        try:
            try:
                self._stream.write(line + "\n")
            except UnicodeEncodeError:
                self._stream.write(line.encode("ascii", "backslashreplace").decode("ascii") + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more: the count is all that is left to keep.
            self.dropped += 1

    def _notice(self, dropped: int) -> str:
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, "log lines dropped", None, None)
        record.fields = {"so_far": dropped}
        return self.format(record)


def configure_logs(
    process: str, level: str = "info", style: Style = "auto", stream: TextIO | None = None
) -> LineWriter:
    """Sends what this process logs to `stream`, stderr if None; an earlier call's writer is closed.

    `process` names the process in each line. `level` is for steelyard's own events; of other libraries only
    warnings and what is worse are shown, because some write a line for each request. `auto` is text where the
    stream is a terminal, else JSON. The writer is closed at exit.

    Raises:
        ValueError: no such level or style.
    """
    levels = logging.getLevelNamesMapping()
    if level.upper() not in levels:
        known = ", ".join(sorted(levels, key=levels.__getitem__)).lower()
        raise ValueError(f"a log level is one of {known}; got {level!r}")
    if style not in ("auto", "json", "text"):
        raise ValueError(f"a log style is one of auto, json, text; got {style!r}")
    out = sys.stderr if stream is None else stream
    people = style == "text" or (style == "auto" and out.isatty())
    writer = LineWriter(out, TextFormatter(process) if people else JsonFormatter(process))
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, LineWriter)]:
        root.removeHandler(earlier)
        earlier.close()
    root.addHandler(writer)
    _LOGGER.setLevel(levels[level.upper()])
    atexit.register(writer.close)
    return writer
