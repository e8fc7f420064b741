"""Payload capture: which requests and answers are kept; taken after they have left, written on a thread of its own."""

import asyncio
import contextlib
import logging
import select
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.clock import Clock
from steelyard.errors import EvidenceError, SteelyardError, Unavailable
from steelyard.evidence.masking import Masks
from steelyard.evidence.payload_files import PayloadWriter, expire
from steelyard.models.evidence import Capture
from steelyard.observe.layout import refusal_of
from steelyard.observe.logs import log
from steelyard.pipelines.plan import PreparedRequest
from steelyard.rollout.sampling import Sampler
from steelyard.serving.bell import Bell
from steelyard.serving.catalog import Catalog
from steelyard.serving.execution import Job
from steelyard.serving.payloads import About, payload_of
from steelyard.serving.shadowing import ASKED_BYTES, NAP_S, Answered
from steelyard.serving.version import ServedVersion

Note = Callable[[dict[str, Any]], bool]
"""Takes what the journal is to say of a payload, called on the thread that writes it; False where there is no room."""

# A disk that refused a write is full or gone: it is asked again after so long, and what comes meanwhile is dropped.
_DISK_REST_NS = 1_000_000_000

# How often old files are looked for: far below any retention that is measured in days.
_EXPIRE_EVERY_S = 600.0

_MS_A_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place among what waits, of somebody who waits until all before it is written or dropped."""

    loop: asyncio.AbstractEventLoop
    passed: asyncio.Event

    def tell(self) -> None:
        """Called on the thread that writes."""
        # Where the loop is closed nobody waits.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.passed.set)


class CaptureTap:
    """Chooses what is kept of one version's requests; called on the event loop. What it chose waits in `Captures`."""

    def __init__(self, version: ServedVersion, captures: "Captures") -> None:
        evidence = version.manifest.evidence
        self.name = f"capture of {version.model} version {version.number}"
        self.model = version.model
        self.settings = evidence.capture
        self.about = About(
            version.model,
            version.number,
            version.digest,
            evidence.capture.max_bytes,
            Masks(evidence.capture.masks),
            version.spec.inputs,
        )
        self.is_closed = False
        self._captures = captures
        self._version = version
        self._takes = Sampler(evidence.capture.rate).takes if evidence.capture.rate else None
        self._reasons = frozenset(evidence.capture.reasons)
        self._digests = evidence.payload_digest
        self._looks_at_all = (
            self._digests
            or self._takes is not None
            or ("flag" in self._reasons and version.pipeline is not None)
        )

    def offer(self, job: Job, answered: Answered) -> None:
        """Takes what is to be kept of a batch whose callers have their answers."""
        version = self._version
        is_canary = "canary" in self._reasons and version.in_canary and version.canary is None
        if not (self._looks_at_all or is_canary or (job.failed and "error" in self._reasons)):
            return
        for (call, request), outcome, decision_id in zip(
            answered, job.outcomes, job.decision_ids, strict=True
        ):
            if call.cancelled:
                continue
            reasons = ["canary"] if is_canary else []
            if "error" in self._reasons and isinstance(outcome, SteelyardError):
                reasons.append("error")
            if "flag" in self._reasons and type(request) is PreparedRequest and is_flagged(request):
                reasons.append("flag")
            self._take(decision_id, request, outcome, reasons)

    def refused(self, decision_id: str, request: Any, error: SteelyardError) -> None:
        """Takes a request that did not come to run, where it is to be kept; raises nothing. request: as it stood."""
        if request is None or self.is_closed:
            return
        reason = "refusal" if refusal_of(error) is not None else "error"
        try:
            self._take(decision_id, request, error, [reason] if reason in self._reasons else [])
        except Exception as fault:  # of ours, and nothing to the request's caller
            log("capture.fault", level=logging.ERROR, model=self.model, reason=repr(fault))
            self.close()

    def close(self) -> None:
        """Takes nothing more."""
        self.is_closed = True

    def _take(
        self, decision_id: str, request: Any, outcome: bytes | SteelyardError, reasons: list[str]
    ) -> None:
        if self._takes is not None and self._takes(decision_id):
            reasons.append("rate")
        if not reasons and self._digests:
            reasons.append("digest")
        if reasons and not self.is_closed:
            self._captures.put(self, decision_id, request, outcome, tuple(reasons))


# Tap, decision id, what was asked, what came of it, why it is kept, and the bytes that it holds.
Waiting = tuple[CaptureTap, str, Any, bytes | SteelyardError, tuple[str, ...], int]


class Captures:
    """The taps of every version whose model asks for it, and the thread that masks and writes what they take.

    Nothing here waits for the disk but that thread: what comes while a model's budget is spent is dropped and counted.
    Every request that was chosen ends in one of `kept`, `digested` and `dropped_*`, but for those that wait.
    """

    def __init__(self, catalog: Catalog, data: Path, origin: str, clock: Clock) -> None:
        """origin: this process, as it stands in the names of its files."""
        self._catalog = catalog
        self._data = data
        self._clock = clock
        self.note: Note | None = None
        """Where the journal is told of payloads; None: nobody is."""
        self._writer = PayloadWriter(data, origin, clock)
        self._waiting: deque[Waiting | _Mark] = deque()
        self._bell = Bell()
        self._asleep = False
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._rest_until_ns = 0
        self._models: dict[str, Capture] = {}
        # Each is written by one thread only: by the loop, and by the writer's.
        self._chosen: Counter[str] = Counter()
        self._put_bytes: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._gone_bytes: Counter[str] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()
        catalog.watch(self._attach)

    def put(
        self,
        tap: CaptureTap,
        decision_id: str,
        request: Any,
        outcome: bytes | SteelyardError,
        reasons: tuple[str, ...],
    ) -> None:
        """Queues one, where it fits into its model's budget."""
        model = tap.model
        self._chosen[model] += 1
        size = getattr(request, "request", request).held_bytes + ASKED_BYTES
        if type(request) is PreparedRequest:
            size = request.held_bytes + ASKED_BYTES
        if type(outcome) is bytes:
            size += len(outcome)
        waiting = self._put_bytes[model] - self._gone_bytes[model]
        if self._closed.is_set() or waiting + size > tap.settings.max_waiting_bytes:
            self._refused[model] += 1
            return
        self._put_bytes[model] += size
        self._append((tap, decision_id, request, outcome, reasons, size))

    async def written(self) -> None:
        """Returns when all that waits now is in a file, or was dropped. Raises Unavailable at the end."""
        if self._thread is None:
            return
        if self._closed.is_set():
            raise Unavailable("the worker is stopping")
        mark = _Mark(asyncio.get_running_loop(), asyncio.Event())
        self._append(mark)
        await mark.passed.wait()

    def _append(self, one: Waiting | _Mark) -> None:
        self._waiting.append(one)
        if self._asleep:
            self._asleep = False
            self._bell.ring()

    def counts(self) -> dict[str, dict[str, int]]:
        """By model: chosen; kept; digested; dropped_budget, dropped_disk, dropped_fault; waiting_bytes."""
        return {
            model: {
                "chosen": self._chosen[model],
                "kept": self._ended[model, "kept"],
                "digested": self._ended[model, "digested"],
                "dropped_budget": self._refused[model],
                "dropped_disk": self._ended[model, "disk"],
                "dropped_fault": self._ended[model, "fault"],
                "waiting_bytes": self._put_bytes[model] - self._gone_bytes[model],
            }
            for model in self._models
        }

    def close(self, timeout_s: float) -> bool:
        """Takes nothing more, and gives the thread so long to write what waits; says whether it has ended."""
        self._closed.set()
        if self._thread is None:
            return True
        self._bell.ring()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _attach(self, model: str) -> None:
        for version in self._catalog.served(model).values():
            if version.capture is None and version.manifest.evidence.captures:
                version.capture = CaptureTap(version, self)
                self._models[model] = version.capture.settings
                self._start()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="capture", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        rung = select.poll()
        rung.register(self._bell.fd, select.POLLIN)
        expire_at = 0.0
        while True:
            if time.monotonic() >= expire_at:
                expire_at = time.monotonic() + _EXPIRE_EVERY_S
                self._expire()
            # Said before it is looked: what comes between the two rings once too often, never once too few.
            self._asleep = True
            if not self._waiting:
                if self._closed.is_set():
                    break
                rung.poll(_EXPIRE_EVERY_S * 1000)
                self._bell.clear()
            self._asleep = False
            self._write_all()
            # What comes meanwhile is written together; each time that it wakes it has to get the GIL from the loop.
            self._closed.wait(NAP_S)
        self._writer.close()

    def _write_all(self) -> None:
        while self._waiting:
            one = self._waiting.popleft()
            if isinstance(one, _Mark):
                one.tell()
                continue
            tap, decision_id, request, outcome, reasons, size = one
            ended = "disk"
            try:
                if self._clock.now_ns() >= self._rest_until_ns:
                    payload = payload_of(tap.about, decision_id, request, outcome, reasons)
                    note = payload.note(*self._writer.append(payload))
                    if self.note is not None:
                        self.note(note)
                    ended = "kept" if payload.kept else "digested"
            except OSError as error:
                self._rest_until_ns = self._clock.now_ns() + _DISK_REST_NS
                self._tell("capture.not_written", tap.model, error.strerror or repr(error))
            except Exception as error:  # a fault with one must not keep the others
                ended = "fault"
                # Its text may quote what was to be masked.
                self._tell("capture.fault", tap.model, type(error).__name__)
            self._ended[tap.model, ended] += 1
            self._gone_bytes[tap.model] += size

    def _expire(self) -> None:
        now_ms = self._clock.unix_ns() // 1_000_000
        for model, settings in list(self._models.items()):
            oldest_ms = now_ms - int(settings.retention_days * _MS_A_DAY)
            try:
                expire(self._data, model, oldest_ms, settings.retention_bytes, now_ms)
            except (EvidenceError, OSError) as error:
                self._tell("capture.not_expired", model, str(error))

    def _tell(self, event: str, model: str, reason: str) -> None:
        log(event, level=logging.ERROR, model=model, reason=reason)


def is_flagged(request: PreparedRequest) -> bool:
    """Whether the data contract found anything in a request that was served."""
    return bool(request.flagged or request.marked)
