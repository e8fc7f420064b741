"""Replays of captured payloads, one or many: which version each runs on, and what came of all."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from steelyard.errors import EvidenceError, SteelyardError
from steelyard.evidence.payload import DamagedPayload, Payload
from steelyard.evidence.payload_files import Entry
from steelyard.evidence.payload_notes import Noted, changed
from steelyard.models.manifest import BatchTolerance
from steelyard.replay.verdict import Replayed, Verdict, judge
from steelyard.replay.version import ReplayVersion, Versions

# Versions that stay loaded: what is replayed in the order of time belongs to few at a time.
MAX_LOADED = 4

NOT_WHAT_WAS_RECORDED = "the captured payload is not what was recorded"

# What is handed to threads before the first of it is back: payloads are read by the threads.
_AHEAD = 64


@dataclass(frozen=True, slots=True)
class Target:
    """What decisions are replayed on; neither: the version that answered then."""

    version: int | None = None
    candidate: Path | None = None

    @property
    def is_another(self) -> bool:
        return self.version is not None or self.candidate is not None


class Replay:
    """Replays entries on `target`; its methods may be called from several threads."""

    def __init__(
        self,
        versions: Versions,
        target: Target,
        tolerance: BatchTolerance | None = None,
        noted: Callable[[Entry], Noted | None] = lambda entry: None,
    ) -> None:
        """tolerance: None: that of the model's manifest. noted: what the journal says of an entry."""
        self._versions = versions
        self._target = target
        self._tolerance = tolerance
        self._noted = noted
        self._loaded: OrderedDict[tuple[str, str], ReplayVersion | SteelyardError] = OrderedDict()
        self._loading = threading.Lock()

    def one(self, entry: Entry) -> Replayed:
        """What comes of one entry. Raises nothing: what cannot be run is a verdict."""
        noted = self._noted(entry)
        return replace(self._judged(entry, noted), noted=noted is not None)

    def _judged(self, entry: Entry, noted: Noted | None) -> Replayed:
        decision_id = entry.head.decision_id
        try:
            payload = entry.read()
            if difference := changed(payload, noted):
                why = f"{NOT_WHAT_WAS_RECORDED}: {difference}"
                return Replayed(decision_id, Verdict.CHANGED, why=why, model=payload.model)
            if not payload.kept:
                return Replayed(
                    decision_id,
                    Verdict.NOT_KEPT,
                    why="only digests were kept of it, by the manifest's rate, reasons and max_bytes",
                    model=payload.model,
                )
            on, then_on = self._sides(payload)
        except DamagedPayload as error:
            return Replayed(decision_id, Verdict.CHANGED, why=f"{NOT_WHAT_WAS_RECORDED}: {error}")
        except SteelyardError as error:
            return Replayed(decision_id, Verdict.NOT_KEPT, why=str(error))
        return judge(payload, on, then_on, self._tolerance or on.tolerance)

    def many(self, chosen: Iterable[Entry], jobs: int) -> Iterator[Replayed]:
        """What comes of each entry, in their order; `jobs` at a time."""
        with ThreadPoolExecutor(jobs, thread_name_prefix="replay") as pool:
            under_way: list[Future[Replayed]] = []
            for entry in chosen:
                under_way.append(pool.submit(self.one, entry))
                if len(under_way) >= jobs + _AHEAD:
                    yield under_way.pop(0).result()
            for future in under_way:
                yield future.result()

    def _sides(self, payload: Payload) -> tuple[ReplayVersion, ReplayVersion | None]:
        """What it runs on and, where that is another, the version that answered then, if it is still there."""
        model, target = payload.model, self._target
        if not target.is_another:
            return self._then(payload), None
        if target.candidate is not None:
            path = target.candidate
            on = self._get((model, str(path)), lambda: self._versions.at(model, path))
        else:
            number = target.version or 0
            on = self._get((model, str(number)), lambda: self._versions.by_number(model, number))
        try:
            return on, self._then(payload)
        except SteelyardError:
            return on, None

    def _then(self, payload: Payload) -> ReplayVersion:
        model, number, digest = payload.model, payload.version, payload.digest
        return self._get((model, digest), lambda: self._versions.by_content(model, number, digest))

    def _get(self, key: tuple[str, str], load: Callable[[], ReplayVersion]) -> ReplayVersion:
        with self._loading:
            found = self._loaded.get(key)
            if found is None:
                try:
                    found = load()
                except SteelyardError as error:
                    found = error
                self._loaded[key] = found
                while len(self._loaded) > MAX_LOADED:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(key)
        if isinstance(found, SteelyardError):
            raise EvidenceError(str(found))
        return found
