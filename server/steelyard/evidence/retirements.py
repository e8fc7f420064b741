"""When models and versions go out of service: a list of days."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from steelyard.evidence.life import Lives, ModelLife
from steelyard.evidence.retirement import WHOLE, Retirement


@dataclass(frozen=True, slots=True)
class Due:
    """A model, or one version of it, and its last day of service."""

    model: str
    version: int
    """`WHOLE`, or a number."""
    day: str
    """YYYY-MM-DD, in UTC."""
    days: int
    """From today to it; negative: it is over."""
    done: bool
    """Whether callers are refused already."""
    why: str
    owner: str
    replacement: str
    runbook: str

    @property
    def name(self) -> str:
        """The model, or "MODEL/VERSION"."""
        return self.model if self.version == WHOLE else f"{self.model}/{self.version}"


def retirements(lives: Lives, today: datetime.date) -> list[Due]:
    """The next first, those that are done last."""
    found = [due for model in lives.models for due in _of(model, lives.of(model), today)]
    return sorted(found, key=lambda due: (due.done, due.day, due.model, due.version))


def _of(model: str, life: ModelLife, today: datetime.date) -> Iterator[Due]:
    retiring = life.retiring
    if retiring.retire_on is not None and WHOLE not in retiring.retirements:
        day = datetime.date.fromisoformat(retiring.retire_on)
        replacement = str(life.governance.get("replacement", ""))
        yield _due(model, WHOLE, life, day, today, retiring.reached == "stop", "retire_on", replacement)
    for number, one in sorted(retiring.retirements.items()):
        done = bool(one.completed_unix_ms)
        yield _due(model, number, life, _day(one), today, done, one.reason, one.replacement)


def _day(one: Retirement) -> datetime.date:
    unix_ms = one.completed_unix_ms or one.until_unix_ms
    return datetime.datetime.fromtimestamp(unix_ms // 1000, datetime.UTC).date()


def _due(
    model: str,
    version: int,
    life: ModelLife,
    day: datetime.date,
    today: datetime.date,
    done: bool,
    why: str,
    replacement: str,
) -> Due:
    return Due(
        model=model,
        version=version,
        day=day.isoformat(),
        days=(day - today).days,
        done=done,
        why=why,
        owner=str(life.governance.get("owner", "")),
        replacement=replacement,
        runbook=str(life.governance.get("retirement_runbook", "")),
    )
