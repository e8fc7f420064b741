"""What workers say of the versions that they load, as events: each once, however often and by whichever it is said."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steelyard.errors import EvidenceError
from steelyard.evidence import versions as kinds
from steelyard.evidence.event import Draft
from steelyard.evidence.life import ModelLife
from steelyard.evidence.versions import KnownVersion
from steelyard.observe.logs import log
from steelyard.supervisor.acting import SERVER
from steelyard.supervisor.record import Record

# A start that loads a thousand models says so in some synced writes rather than in a thousand.
GATHERED_S = 0.2

# After a disk did not take them.
RETRY_S = 5.0


class Loads:
    """Takes reports, and records what is news. `recorded` hears of the models that events were recorded of."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._waiting: list[Mapping[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None
        # What any worker has said something of since the server was started.
        self._seen: set[tuple[str, int]] = set()
        self._all_told = False
        self.recorded: Callable[[Sequence[str]], None] = lambda models: None

    def reported(self, reports: Sequence[Mapping[str, Any]]) -> None:
        """Takes what a worker says."""
        self._waiting += reports
        self._seen.update((report["model"], report["version"]) for report in reports)
        self._flush_in(GATHERED_S)

    def all_told(self) -> None:
        """The first workers have said what they have loaded: what was served before the start and is not among it is
        unloaded."""
        if self._all_told:
            return
        self._all_told = True
        reason = "the server was started without it"
        self.reported(
            [
                {"model": model, "version": number, "unloaded": reason}
                for model in self._record.models
                for number, known in self._record.life(model).versions.items()
                if known.loaded and (model, number) not in self._seen
            ]
        )

    def flush(self) -> None:
        """Records what was said so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reports, self._waiting = self._waiting, []
        drafts = self._news(reports)
        if not drafts:
            return
        try:
            self._record.append(drafts)
        except EvidenceError as error:
            log("loads.unrecorded", level=logging.ERROR, reason=str(error), pause_s=RETRY_S)
            self._waiting = [*reports, *self._waiting]
            self._flush_in(RETRY_S)
            return
        self.recorded(sorted({draft.model for draft in drafts}))

    def _flush_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.flush)

    def _news(self, reports: Sequence[Mapping[str, Any]]) -> list[Draft]:
        drafts: list[Draft] = []
        said: set[tuple[str, int, str]] = set()
        for report in reports:
            model = report["model"]
            news = _news(self._record.life(model), report)
            # What several workers say at the same time is one event.
            for draft in news:
                key = (model, draft.details["version"], f"{draft.kind} {draft.digest}")
                if key not in said:
                    said.add(key)
                    drafts.append(draft)
        return drafts


def _news(life: ModelLife, report: Mapping[str, Any]) -> list[Draft]:
    """What a report says that the events do not."""
    model, number = report["model"], report["version"]
    known = life.versions.get(number)
    drafts: list[Draft] = []
    if "loaded" in report:
        drafts += _loaded(model, number, known, report["loaded"])
    if "unloaded" in report and known is not None and known.loaded:
        reason = report["unloaded"] or "not served any more"
        drafts.append(Draft(kinds.UNLOADED, model, SERVER, reason[:1000], known.digest, {"version": number}))
    problem = report.get("problem")
    if problem and life.problems.get(number) != problem:
        details = {"version": number, "problem": problem}
        drafts.append(Draft(kinds.REFUSED, model, SERVER, "it could not be loaded", details=details))
    return drafts


def _loaded(model: str, number: int, known: KnownVersion | None, loaded: Mapping[str, Any]) -> list[Draft]:
    digest = loaded["digest"]
    drafts = []
    is_new = known is None or known.digest != digest
    if is_new:
        details = {"version": number, "lineage": loaded["lineage"]}
        reason = "its files are in the repository"
        drafts.append(Draft(kinds.REGISTERED, model, SERVER, reason, digest, details))
    if is_new or not (known and known.loaded):
        facts = {key: loaded[key] for key in ("golden_passed", "golden_failing", "device", "batching")}
        reason = "it has passed the checks of a load"
        drafts.append(Draft(kinds.LOADED, model, SERVER, reason, digest, {"version": number, **facts}))
    return drafts
