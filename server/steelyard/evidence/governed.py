"""What a worker has to know of a model's governance: what overrules model.toml, whom to warn, and whom to refuse."""

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from steelyard.evidence.declared import OWNER_CHANGED, kind_of
from steelyard.evidence.life import ModelLife
from steelyard.evidence.retirement import WHOLE, Retirement

ByVersion = Mapping[int, str]
"""By a version's number; `WHOLE` stands for all of them."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What callers are told with each answer."""

    until: str
    """The last day, YYYY-MM-DD, or RFC 3339 to the second where it is a moment."""
    replacement: str
    """What to ask instead; empty where nobody has said."""


@dataclass(frozen=True, slots=True)
class Governed:
    """In force until the next directive for the same model."""

    overrides: Mapping[str, str] = field(default_factory=dict)
    """Keys of `[governance]` that events have set to something else than model.toml says."""
    notices: Mapping[int, Notice] = field(default_factory=dict)
    retired: ByVersion = field(default_factory=dict)
    """What callers are refused with."""
    goes_on: ByVersion = field(default_factory=dict)
    """The content of versions that may be loaded though the last day is over."""

    def to_json(self) -> dict[str, Any]:
        """As it travels between processes."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Governed":
        """What `to_json` wrote, also after JSON has made texts of the numbers."""
        return cls(
            overrides=fields["overrides"],
            notices={int(number): Notice(**one) for number, one in fields["notices"].items()},
            retired={int(number): text for number, text in fields["retired"].items()},
            goes_on={int(number): text for number, text in fields["goes_on"].items()},
        )


def governed(model: str, life: ModelLife) -> Governed:
    """What the workers have to know of `model`."""
    retiring = life.retiring
    overrides = {
        key: value
        for key, value in life.governance.items()
        if kind_of(key) == OWNER_CHANGED and life.manifest.get(key) != value
    }
    notices: dict[int, Notice] = {}
    retired: dict[int, str] = {}
    replacement = life.governance.get("replacement", "")
    if retiring.retire_on is not None:
        overrides["retire_on"] = retiring.retire_on
        if retiring.warned_days is not None or retiring.reached == "serve":
            notices[WHOLE] = Notice(retiring.retire_on, replacement)
        if retiring.reached == "stop":
            last = f"model {model!r} is out of service since the end of {retiring.retire_on} (UTC)"
            retired[WHOLE] = last + _instead(replacement, life)
    for number, one in retiring.retirements.items():
        if one.completed_unix_ms:
            retired[number] = _refusal(model, one) + _instead(one.replacement, life)
        else:
            notices[number] = Notice(moment(one.until_unix_ms), one.replacement)
    return Governed(overrides, notices, retired, retiring.goes_on)


def moment(unix_ms: int) -> str:
    """RFC 3339 in UTC, to the second."""
    found = datetime.datetime.fromtimestamp(unix_ms // 1000, datetime.UTC)
    return found.isoformat().replace("+00:00", "Z")


def _refusal(model: str, one: Retirement) -> str:
    which = f"model {model!r}" if one.version == WHOLE else f"model {model!r} version {one.version}"
    return f"{which} was retired on {moment(one.completed_unix_ms)[:10]}"


def _instead(replacement: str, life: ModelLife) -> str:
    if replacement:
        return f"; ask {replacement} in its place"
    owner = life.governance.get("owner")
    return f"; nobody has named a replacement{f', ask {owner}' if owner else ''}"
