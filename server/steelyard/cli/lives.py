"""What commands know of models from the event log, whether a server has it open or not."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import click

from steelyard.errors import ModelNotFound
from steelyard.evidence.event import Event
from steelyard.evidence.life import Lives, ModelLife
from steelyard.evidence.log import EVENTS_FILE, read_events

DAY = click.DateTime(formats=["%Y-%m-%d"])


def events_until(data: Path, day: datetime.date | None = None) -> Sequence[Event]:
    """The events in a data directory, all or those to the end of `day` in UTC. Raises EvidenceError."""
    events = read_events(data / EVENTS_FILE).events
    if day is None:
        return events
    after = datetime.datetime.combine(day + datetime.timedelta(days=1), datetime.time(), datetime.UTC)
    return [event for event in events if event.unix_ms < after.timestamp() * 1000]


def life_of(data: Path, model: str) -> ModelLife:
    """What the events say of `model`. Raises ModelNotFound where none names it."""
    lives = Lives(events_until(data))
    if model not in lives.models:
        raise ModelNotFound(
            f"no event in {data / EVENTS_FILE} names a model {model!r}: no server has served it"
        )
    return lives.of(model)


def today() -> datetime.date:
    """The day in UTC."""
    return datetime.datetime.now(datetime.UTC).date()
