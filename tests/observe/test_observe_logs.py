"""Log lines stay lines, whatever is in them, and logging neither raises nor waits."""

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.observe.logs import (
    MAX_LIST_ITEMS,
    MAX_VALUE_CHARS,
    JsonFormatter,
    LineWriter,
    TextFormatter,
    configure_logs,
    log,
)

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


FIELDS = st.text() | st.floats() | st.integers() | st.binary()


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Blocked(io.StringIO):
    """A stream that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        self.let_go.wait(10)
        return super().write(text)


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("steelyard")
    handlers, level = list(root.handlers), ours.level
    yield
    for handler in [h for h in root.handlers if h not in handlers]:
        root.removeHandler(handler)
        handler.close()
    ours.setLevel(level)


def record(event: object, /, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("steelyard", logging.INFO, __file__, 1, "%s", (event,), None)
    made.fields = fields
    return made


def raised(message: str) -> logging.LogRecord:
    made = record("failed")
    try:
        raise ValueError(message)
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_json_line_holds_event_and_fields() -> None:
    stream = io.StringIO()
    writer = configure_logs("worker-0", "info", "json", stream)
    log("request.failed", level=logging.ERROR, decision_id="0190", rows=3, ms=1.5, ok=False, digest=None)
    writer.close()
    line = json.loads(stream.getvalue())
    assert STAMP.fullmatch(line.pop("time"))
    assert line == {
        "level": "error",
        "logger": "steelyard",
        "process": "worker-0",
        "event": "request.failed",
        "decision_id": "0190",
        "rows": 3,
        "ms": 1.5,
        "ok": False,
        "digest": None,
    }


def test_lists_are_lists_in_json_and_bounded() -> None:
    made = record(
        "x", names=["a", "b\n"], mixed=(1, 2.5, None, float("nan"), {"k"}), many=["m" * 10**4] * 10**4
    )
    line = json.loads(JsonFormatter("p").format(made))
    assert line["names"] == ["a", "b\n"]
    assert line["mixed"] == [1, 2.5, None, "nan", "{'k'}"]
    assert len(line["many"]) == MAX_LIST_ITEMS + 1
    assert line["many"][-1] == "... 9936 more"
    assert all(len(item) < 2 * MAX_VALUE_CHARS for item in line["many"])


def test_a_line_for_people_reads_from_left_to_right() -> None:
    stream = io.StringIO()
    writer = configure_logs("server", "info", "text", stream)
    log("version.ready", model="digits", version=3, reason="all is well", path="a=b")
    writer.close()
    stamp, rest = stream.getvalue().split(" ", 1)
    assert STAMP.fullmatch(stamp)
    assert rest == 'info     [server] version.ready model=digits version=3 reason="all is well" path="a=b"\n'


@pytest.mark.parametrize(("stream", "first"), [(io.StringIO(), "{"), (Terminal(), "2")])
def test_auto_is_text_at_a_terminal_and_json_elsewhere(stream: io.StringIO, first: str) -> None:
    writer = configure_logs("server", stream=stream)
    log("ready")
    writer.close()
    assert stream.getvalue().startswith(first)


def test_time_is_utc_with_milliseconds_and_never_a_thousand_of_them() -> None:
    made = record("x")
    made.created, made.msecs = 1_700_000_000.9996, 1000.0
    assert json.loads(JsonFormatter("p").format(made))["time"] == "2023-11-14T22:13:20.999Z"


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_text_is_one_printable_line(event: str, fields: dict[str, str]) -> None:
    line = TextFormatter("p").format(record(event, **fields))
    assert line.isprintable()


@given(st.text(), st.dictionaries(st.text(), FIELDS | st.lists(FIELDS)))
def test_json_is_one_ascii_line_that_parses(event: str, fields: dict[str, object]) -> None:
    line = JsonFormatter("p").format(record(event, **fields))
    assert line.isascii()
    assert "\n" not in line

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    parsed = json.loads(line, parse_constant=no_constant)
    assert parsed["event"] == event
    assert parsed["level"] == "info"


@pytest.mark.parametrize(
    "name", ["model\n2026-01-01T00:00:00.000Z error forged", "a\x1b[2Jb", "a\u202eb", "\ud800"]
)
@pytest.mark.parametrize("style", [TextFormatter, JsonFormatter])
def test_no_value_can_forge_a_line_or_move_the_cursor(style: type[logging.Formatter], name: str) -> None:
    line = style("p").format(record(name, model=name, **{name: name}))
    assert line.isprintable()


def test_a_traceback_cannot_forge_a_line() -> None:
    text = TextFormatter("p").format(raised("x\n2026-01-01T00:00:00.000Z error forged"))
    first, *rest = text.split("\n")
    assert STAMP.match(first)
    assert rest
    assert all(line.startswith("    | ") and line.isprintable() for line in rest)
    assert "ValueError" in json.loads(JsonFormatter("p").format(raised("y")))["exception"]


def test_fields_cannot_hide_the_lines_own() -> None:
    line = json.loads(JsonFormatter("p").format(record("real", event="forged", time="never")))
    assert (line["event"], line["field_event"], line["field_time"]) == ("real", "forged", "never")


@pytest.mark.parametrize("style", [TextFormatter, JsonFormatter])
def test_long_values_are_cut(style: type[logging.Formatter]) -> None:
    assert len(style("p").format(record("e" * 10**6, model="m" * 10**6))) < 3 * MAX_VALUE_CHARS


@pytest.mark.parametrize("style", [TextFormatter, JsonFormatter])
def test_nothing_that_is_logged_raises(style: type[logging.Formatter]) -> None:
    stream = io.StringIO()
    writer = LineWriter(stream, style("p"))
    writer.emit(record("odd", value=Unprintable(), other=float("nan"), nested={"a": object()}))
    writer.emit(logging.LogRecord("x", logging.INFO, __file__, 1, "%d", ("not a number",), None))
    no_mapping = record("plain")
    no_mapping.fields = 7
    writer.emit(no_mapping)
    writer.close()
    assert "Unprintable without text: RuntimeError" in stream.getvalue()
    assert "plain" in stream.getvalue()
    assert writer.dropped == 1


def test_a_reader_that_stands_still_costs_lines_and_not_time() -> None:
    stream = Blocked()
    writer = LineWriter(stream, JsonFormatter("p"), max_lines=3)
    writer.emit(record("first"))
    assert stream.entered.wait(10)
    for i in range(10):
        writer.emit(record(f"waits-{i}"))
    assert writer.dropped == 7
    stream.let_go.set()
    writer.close()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [e["event"] for e in events] == ["first", "log lines dropped", "waits-0", "waits-1", "waits-2"]
    assert events[1]["so_far"] == 7


def test_a_reader_that_is_gone_costs_nothing_but_lines() -> None:
    writer = LineWriter(Gone(), JsonFormatter("p"))
    writer.emit(record("x"))
    writer.close()
    assert writer.dropped >= 1


def test_a_stream_without_the_letters_gets_escapes() -> None:
    raw = io.BytesIO()
    writer = LineWriter(io.TextIOWrapper(raw, encoding="ascii"), TextFormatter("p"))
    writer.emit(record("x", model="café"))
    writer.close()
    assert b"model=caf\\xe9\n" in raw.getvalue()


def test_levels_hold_for_our_events_and_others_show_warnings_only() -> None:
    stream = io.StringIO()
    writer = configure_logs("p", "info", "text", stream)
    log("quiet", level=logging.DEBUG)
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("aiohttp").warning("heard")
    writer.close()
    assert [line.split()[3] for line in stream.getvalue().splitlines()] == ["heard"]


def test_configuring_again_replaces_the_writer() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logs("p", stream=first)
    writer = configure_logs("p", stream=second)
    log("once")
    writer.close()
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


@pytest.mark.parametrize(
    ("level", "style", "message"),
    [
        ("loud", "json", "a log level is one of .*info.*; got 'loud'"),
        ("info", "xml", "auto, json, text; got 'xml'"),
    ],
)
def test_unknown_settings_are_named(level: str, style: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configure_logs("p", level, style)
