"""Days on which models go out of service, as an iCalendar file (RFC 5545)."""

import datetime
import hashlib
from collections.abc import Sequence

from steelyard import __version__
from steelyard.errors import ConfigError
from steelyard.evidence.retirement import WARNED_DAYS
from steelyard.evidence.retirements import Due


def calendar(dues: Sequence[Due], made_unix_ms: int) -> bytes:
    """The file: a day-long event each, with a reminder as early as the server warns. made_unix_ms: its DTSTAMP.

    The same retirement has the same UID each time, so that a calendar that reads the file again moves it.
    Raises ConfigError where the package icalendar is not installed.
    """
    try:
        import icalendar
    except ImportError:
        raise ConfigError(
            "iCalendar files need the package icalendar, which is not installed: pip install 'steelyard[evidence]'"
        ) from None
    made = datetime.datetime.fromtimestamp(made_unix_ms / 1000, datetime.UTC)
    whole = icalendar.Calendar()
    whole.add("prodid", f"-//steelyard//{__version__}//EN")
    whole.add("version", "2.0")
    for due in dues:
        day = datetime.date.fromisoformat(due.day)
        event = icalendar.Event()
        event.add("uid", f"{hashlib.sha256(due.name.encode()).hexdigest()[:32]}@steelyard")
        event.add("dtstamp", made)
        event.add("dtstart", day)
        event.add("dtend", day + datetime.timedelta(days=1))
        event.add("summary", f"{due.name}: last day of service")
        event.add("description", _described(due))
        event.add("transp", "TRANSPARENT")
        alarm = icalendar.Alarm()
        alarm.add("action", "DISPLAY")
        alarm.add("description", f"{due.name} goes out of service on {due.day}")
        alarm.add("trigger", -datetime.timedelta(days=WARNED_DAYS[0]))
        event.add_component(alarm)
        whole.add_component(event)
    found: bytes = whole.to_ical()
    return found


def _described(due: Due) -> str:
    parts = {"Owner": due.owner, "Replacement": due.replacement, "Runbook": due.runbook, "Why": due.why}
    return "\n".join(f"{name}: {value}" for name, value in parts.items() if value)
