"""The supervisor's side of a worker's shared segment: made here, read here, never written after that."""

import mmap
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from steelyard.observe.decision_counts import DecisionCounts, read_counts
from steelyard.observe.histogram import BUCKETS, HistogramCounts
from steelyard.observe.layout import (
    ACTION_PLACES,
    BATCH_SIZE_WORDS,
    BATCH_SIZES,
    BODIES_WORD,
    BODY_WORDS,
    DIRECTORY_WORD,
    ENTRY_WORDS,
    HISTOGRAM_WORDS,
    MAGIC,
    MODEL_BYTES,
    RULE_PLACES,
    SEGMENT_BYTES,
    SLOTS,
    STEP_BYTES,
    STEP_WORDS,
    STEPS,
    VERSION_BYTES,
    Body,
    Entry,
    Header,
    Histogram,
    Refusal,
    Stage,
    Step,
)
from steelyard.pipelines.problems import ACTIONS, RULES

Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class StepCounts:
    """What one step of a pipeline did."""

    runs: int
    errors: int
    sum_ns: int

    def __add__(self, other: "StepCounts") -> "StepCounts":
        return StepCounts(self.runs + other.runs, self.errors + other.errors, self.sum_ns + other.sum_ns)


K = TypeVar("K")
V = TypeVar("V", StepCounts, int)

NOTHING_RAN = tuple(HistogramCounts.empty() for _ in Stage)
NO_BATCHES: Words = np.zeros((BATCH_SIZES, BATCH_SIZE_WORDS), np.uint64)
NO_BATCHES.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class SlotCounts:
    """What one model and version has counted, in one worker or added up over several.

    `stages` has one entry for each `Stage`. `batch_sizes` is uint64 of shape [BATCH_SIZES, 4]: batches, input
    ns, infer ns and output ns of each size 0..128, and of all that were larger.
    """

    model: str
    version: str
    received: int = 0
    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    lost: int = 0
    rows: int = 0
    batches: int = 0
    last_inference_unix_ms: int = 0
    failed_ns: int = 0
    in_flight: int = 0
    queue_depth: int = 0
    queue_bytes: int = 0
    golden_passed: int = 0
    golden_failed: int = 0
    golden_last_unix_ms: int = 0
    golden_failing: int = 0
    ragged_places: int = 0
    """Places of batches whose rows may differ in length, padding included."""
    ragged_padding: int = 0
    refused: dict[Refusal, int] = field(default_factory=dict)
    stages: tuple[HistogramCounts, ...] = NOTHING_RAN
    batch_sizes: Words = field(default_factory=lambda: NO_BATCHES)
    steps: dict[str, StepCounts] = field(default_factory=dict)
    """By phase and name of the step, such as "prepare file/windows"."""
    rules: dict[tuple[str, str], int] = field(default_factory=dict)
    """How often a rule was broken, by its name and what was done; those that were."""

    @property
    def refused_total(self) -> int:
        return sum(self.refused.values())

    @property
    def unaccounted(self) -> int:
        """Requests that came in and are neither ended nor inside: 0 at every quiet moment."""
        ended = self.answered + self.refused_total + self.failed + self.cancelled + self.lost
        return self.received - ended - self.in_flight

    def __add__(self, other: "SlotCounts") -> "SlotCounts":
        """The same model's counts of two workers, as one."""
        return SlotCounts(
            model=self.model,
            version=self.version,
            received=self.received + other.received,
            answered=self.answered + other.answered,
            failed=self.failed + other.failed,
            cancelled=self.cancelled + other.cancelled,
            lost=self.lost + other.lost,
            rows=self.rows + other.rows,
            batches=self.batches + other.batches,
            last_inference_unix_ms=max(self.last_inference_unix_ms, other.last_inference_unix_ms),
            failed_ns=self.failed_ns + other.failed_ns,
            in_flight=self.in_flight + other.in_flight,
            queue_depth=self.queue_depth + other.queue_depth,
            queue_bytes=self.queue_bytes + other.queue_bytes,
            golden_passed=self.golden_passed + other.golden_passed,
            golden_failed=self.golden_failed + other.golden_failed,
            golden_last_unix_ms=max(self.golden_last_unix_ms, other.golden_last_unix_ms),
            golden_failing=self.golden_failing + other.golden_failing,
            ragged_places=self.ragged_places + other.ragged_places,
            ragged_padding=self.ragged_padding + other.ragged_padding,
            refused={r: self.refused.get(r, 0) + other.refused.get(r, 0) for r in Refusal},
            stages=tuple(a + b for a, b in zip(self.stages, other.stages, strict=True)),
            batch_sizes=self.batch_sizes + other.batch_sizes,
            steps=_added(self.steps, other.steps, StepCounts(0, 0, 0)),
            rules=_added(self.rules, other.rules, 0),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SegmentSnapshot:
    """One worker's segment at one moment. A batch that was just being counted may be in it by half."""

    worker_pid: int
    worker_start_unix_ns: int
    worker_starts: int
    labels_without_slot: int
    decisions: DecisionCounts
    slots: tuple[SlotCounts, ...]

    def slot(self, model: str, version: str) -> SlotCounts:
        """The counts of a model's version, all zero where it has no slot yet."""
        for slot in self.slots:
            if slot.model == model and slot.version == version:
                return slot
        return SlotCounts(model, version)

    def unaccounted(self) -> dict[tuple[str, str], int]:
        """The models whose counts do not add up, empty at every quiet moment."""
        return {(slot.model, slot.version): slot.unaccounted for slot in self.slots if slot.unaccounted}

    def without_gauges(self) -> "SegmentSnapshot":
        """The same with nothing inside: what is true of a worker that has died, whatever it said last."""
        slots = tuple(
            replace(slot, in_flight=0, queue_depth=0, queue_bytes=0, golden_failing=0) for slot in self.slots
        )
        return replace(self, slots=slots)


def _added(one: dict[K, V], other: dict[K, V], nothing: V) -> dict[K, V]:
    """The sums of what either has."""
    return {key: one.get(key, nothing) + other.get(key, nothing) for key in (*one, *other)}


def merge(snapshots: Iterable[SegmentSnapshot]) -> dict[tuple[str, str], SlotCounts]:
    """Several workers' counts added up, by model and version in the order in which they were first met."""
    merged: dict[tuple[str, str], SlotCounts] = {}
    for snapshot in snapshots:
        for slot in snapshot.slots:
            labels = slot.model, slot.version
            merged[labels] = merged[labels] + slot if labels in merged else slot
    return merged


class SegmentReader:
    """Reads a segment without asking its worker. Owns a mapping, not the descriptor.

    Raises:
        ValueError: the file is no segment.
    """

    def __init__(self, fd: int) -> None:
        self._words: Words = np.frombuffer(mmap.mmap(fd, SEGMENT_BYTES, prot=mmap.PROT_READ), np.uint64)
        if self._words[Header.MAGIC] != MAGIC:
            raise ValueError(f"expected a segment, got a file that begins with {self._words[:1].tobytes()!r}")
        # Slots are never given back, so that what was read of their labels stays true.
        self._indexes: dict[tuple[str, str], int] = {}
        self._labels_read = 0

    def snapshot(self) -> SegmentSnapshot:
        """Copies what is there; costs time for slots in use, and pages only for models that ran."""
        used = min(int(self._words[Header.SLOTS_USED]), SLOTS)
        end = DIRECTORY_WORD + used * ENTRY_WORDS
        entries = self._words[DIRECTORY_WORD:end].copy().reshape(used, ENTRY_WORDS)
        header = self._words[: max(Header) + 1].tolist()
        return SegmentSnapshot(
            worker_pid=header[Header.WORKER_PID],
            worker_start_unix_ns=header[Header.WORKER_START_UNIX_NS],
            worker_starts=header[Header.WORKER_STARTS],
            labels_without_slot=header[Header.LABELS_WITHOUT_SLOT],
            decisions=read_counts(header),
            slots=tuple(self._slot(index, entry) for index, entry in enumerate(entries) if entry[Entry.USED]),
        )

    def slot(self, index: int) -> SlotCounts:
        """Copies one slot alone, by the writer's `Slot.index`.

        Raises:
            IndexError: no such slot is in use.
        """
        used = min(int(self._words[Header.SLOTS_USED]), SLOTS)
        if not 0 <= index < used:
            raise IndexError(f"slot {index} is not among the {used} in use")
        at = DIRECTORY_WORD + index * ENTRY_WORDS
        return self._slot(index, self._words[at : at + ENTRY_WORDS].copy())

    def find(self, model: str, version: str) -> SlotCounts | None:
        """Copies the slot of a model's version, None where it has none."""
        index = self._index(model, version)
        return None if index is None else self.slot(index)

    def golden_failing(self, model: str, version: str) -> int:
        """How many golden examples of a model's version fail, by what its worker has found; 0 where it has no slot."""
        index = self._index(model, version)
        return (
            0
            if index is None
            else int(self._words[DIRECTORY_WORD + index * ENTRY_WORDS + Entry.GOLDEN_FAILING])
        )

    def _index(self, model: str, version: str) -> int | None:
        used = min(int(self._words[Header.SLOTS_USED]), SLOTS)
        for index in range(self._labels_read, used):
            at = DIRECTORY_WORD + index * ENTRY_WORDS
            entry = self._words[at : at + ENTRY_WORDS]
            names = entry.tobytes()
            labels = (
                _label(names, Entry.MODEL, int(entry[Entry.MODEL_LENGTH]), MODEL_BYTES),
                _label(names, Entry.VERSION, int(entry[Entry.VERSION_LENGTH]), VERSION_BYTES),
            )
            self._indexes.setdefault(labels, index)
        self._labels_read = used
        return self._indexes.get((model, version))

    def _slot(self, index: int, entry: Words) -> SlotCounts:
        words = entry.tolist()
        names = entry.tobytes()
        stages, batch_sizes = self._body(index) if words[Entry.BATCHES] else (NOTHING_RAN, NO_BATCHES)
        steps, rules = self._pipeline(index, words[Entry.STEPS]) if words[Entry.STEPS] else ({}, {})
        return SlotCounts(
            model=_label(names, Entry.MODEL, words[Entry.MODEL_LENGTH], MODEL_BYTES),
            version=_label(names, Entry.VERSION, words[Entry.VERSION_LENGTH], VERSION_BYTES),
            received=words[Entry.RECEIVED],
            answered=words[Entry.ANSWERED],
            failed=words[Entry.FAILED],
            cancelled=words[Entry.CANCELLED],
            lost=words[Entry.LOST],
            rows=words[Entry.ROWS],
            batches=words[Entry.BATCHES],
            last_inference_unix_ms=words[Entry.LAST_INFERENCE_UNIX_MS],
            failed_ns=words[Entry.FAILED_NS],
            in_flight=words[Entry.IN_FLIGHT],
            queue_depth=words[Entry.QUEUE_DEPTH],
            queue_bytes=words[Entry.QUEUE_BYTES],
            golden_passed=words[Entry.GOLDEN_PASSED],
            golden_failed=words[Entry.GOLDEN_FAILED],
            golden_last_unix_ms=words[Entry.GOLDEN_LAST_UNIX_MS],
            golden_failing=words[Entry.GOLDEN_FAILING],
            ragged_places=words[Entry.RAGGED_PLACES],
            ragged_padding=words[Entry.RAGGED_PADDING],
            refused={reason: words[Entry.REFUSED + reason] for reason in Refusal},
            stages=stages,
            batch_sizes=batch_sizes,
            steps=steps,
            rules=rules,
        )

    def _pipeline(self, index: int, count: int) -> tuple[dict[str, StepCounts], dict[tuple[str, str], int]]:
        at = BODIES_WORD + index * BODY_WORDS
        broken = self._words[at + Body.RULES : at + Body.STEPS].tolist()
        rules = {
            (rule, action): broken[row * ACTION_PLACES + column]
            for row, rule in enumerate(RULES[:RULE_PLACES])
            for column, action in enumerate(ACTIONS)
            if broken[row * ACTION_PLACES + column]
        }
        steps: dict[str, StepCounts] = {}
        table = self._words[at + Body.STEPS : at + BODY_WORDS].copy().reshape(STEPS, STEP_WORDS)
        for row in table[: min(count, STEPS)]:
            name = _label(row.tobytes(), Step.NAME, int(row[Step.NAME_LENGTH]), STEP_BYTES)
            found = StepCounts(int(row[Step.RUNS]), int(row[Step.ERRORS]), int(row[Step.SUM_NS]))
            steps[name] = steps[name] + found if name in steps else found
        return steps, rules

    def _body(self, index: int) -> tuple[tuple[HistogramCounts, ...], Words]:
        at = BODIES_WORD + index * BODY_WORDS
        body = self._words[at : at + BODY_WORDS].copy()
        sizes = body[Body.BATCH_SIZES : Body.BATCH_SIZES + BATCH_SIZES * BATCH_SIZE_WORDS]
        histograms = body[Body.STAGES : Body.BATCH_SIZES].reshape(len(Stage), HISTOGRAM_WORDS)
        stages = tuple(
            HistogramCounts(h[Histogram.BUCKETS : Histogram.BUCKETS + BUCKETS], int(h[Histogram.SUM_NS]))
            for h in histograms
        )
        return stages, sizes.reshape(BATCH_SIZES, BATCH_SIZE_WORDS)


def _label(entry: bytes, word: int, length: int, limit: int) -> str:
    at = 8 * word
    return entry[at : at + min(length, limit)].decode("utf-8", "replace")
