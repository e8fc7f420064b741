"""The plain twin of `steelyard._native.observe`: the same classes over the same words."""

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from steelyard.observe.histogram import bucket_of
from steelyard.observe.layout import (
    ACTION_PLACES,
    BATCH_SIZE_WORDS,
    BATCH_SIZES,
    BODIES_WORD,
    BODY_WORDS,
    DIRECTORY_WORD,
    ENTRY_WORDS,
    EXACT_BATCH,
    HISTOGRAM_WORDS,
    LAYOUT_VERSION,
    MAGIC,
    MODEL_BYTES,
    OTHER_SLOT,
    REASONS,
    RULE_PLACES,
    SEGMENT_BYTES,
    SLOTS,
    STEP_BYTES,
    STEP_WORDS,
    STEPS,
    UNKNOWN_SLOT,
    VERSION_BYTES,
    Body,
    Entry,
    Header,
    Histogram,
    Stage,
    Step,
)

__all__ = ["Segment", "Slot", "Ticket", "bucket_of"]


@dataclass(slots=True, eq=False)
class Ticket:
    """One request on its way through the server; times are monotonic ns, 0 in `deadline_ns` means none."""

    call: Any
    request: Any
    rows: int
    key: Any
    received_ns: int
    decode_ns: int
    deadline_ns: int = 0
    priority: int = 0
    size_bytes: int = 0
    length: int = field(default=0, init=False)
    state: int = 0


class Slot:
    """Where the requests of one model and version are counted. Made by `Segment.slot`."""

    def __init__(self, words: memoryview, index: int) -> None:
        self.index = index
        self._words = words
        self._entry = DIRECTORY_WORD + index * ENTRY_WORDS
        self._body = BODIES_WORD + index * BODY_WORDS

    def received(self, n: int = 1) -> None:
        self._words[self._entry + Entry.RECEIVED] += max(n, 0)

    def refused(self, reason: int) -> None:
        if not 0 <= reason < REASONS:
            raise ValueError(f"a refusal's reason is 0..{REASONS - 1}, got {reason}")
        self._words[self._entry + Entry.REFUSED + reason] += 1

    def failed(self, total_ns: int = 0) -> None:
        self._words[self._entry + Entry.FAILED] += 1
        self._words[self._entry + Entry.FAILED_NS] += max(total_ns, 0)

    def cancelled(self) -> None:
        self._words[self._entry + Entry.CANCELLED] += 1

    def set_gauges(self, in_flight: int, queue_depth: int, queue_bytes: int) -> None:
        self._words[self._entry + Entry.IN_FLIGHT] = max(in_flight, 0)
        self._words[self._entry + Entry.QUEUE_DEPTH] = max(queue_depth, 0)
        self._words[self._entry + Entry.QUEUE_BYTES] = max(queue_bytes, 0)

    def name_steps(self, names: list[str]) -> None:
        if self.index == OTHER_SLOT:
            return
        count = min(len(names), STEPS)
        for place, name in enumerate(names[:count]):
            if place == STEPS - 1 and len(names) > STEPS:
                name = "rest of the steps"
            encoded = name.encode("utf-8", "backslashreplace")[:STEP_BYTES].decode("utf-8", "ignore").encode()
            at = self._step(place)
            step = self._words[at : at + STEP_WORDS]
            names_bytes = step.cast("B")
            begin = 8 * Step.NAME
            if names_bytes[begin : begin + min(step[Step.NAME_LENGTH], STEP_BYTES)] == encoded:
                continue
            names_bytes[begin : begin + len(encoded)] = encoded
            step[Step.NAME_LENGTH] = len(encoded)
            step[Step.RUNS] = step[Step.ERRORS] = step[Step.SUM_NS] = 0
        self._words[self._entry + Entry.STEPS] = count

    def record_steps(self, ns: list[int], runs: list[int], errors: list[int]) -> None:
        if not len(ns) == len(runs) == len(errors):
            raise ValueError(f"expected {len(ns)} steps, came {len(runs)} runs and {len(errors)} errors")
        count = self._words[self._entry + Entry.STEPS]
        for place in range(len(ns) if count else 0):
            if runs[place]:
                at = self._step(min(place, count - 1))
                self._words[at + Step.RUNS] += max(runs[place], 0)
                self._words[at + Step.ERRORS] += max(errors[place], 0)
                self._words[at + Step.SUM_NS] += max(ns[place], 0)

    def record_rule(self, rule: int, action: int, times: int = 1) -> None:
        if not (0 <= rule < RULE_PLACES and 0 <= action < ACTION_PLACES):
            raise ValueError(
                f"a rule is 0..{RULE_PLACES - 1} and an action 0..{ACTION_PLACES - 1}, got {rule} and {action}"
            )
        self._words[self._body + Body.RULES + rule * ACTION_PLACES + action] += max(times, 0)

    def _step(self, place: int) -> int:
        return self._body + Body.STEPS + place * STEP_WORDS

    def examined(self, passed: int, failed: int, unix_ms: int) -> None:
        self._words[self._entry + Entry.GOLDEN_PASSED] += max(passed, 0)
        self._words[self._entry + Entry.GOLDEN_FAILED] += max(failed, 0)
        self._words[self._entry + Entry.GOLDEN_LAST_UNIX_MS] = max(unix_ms, 0)

    def padded(self, places: int, padding: int) -> None:
        self._words[self._entry + Entry.RAGGED_PLACES] += max(places, 0)
        self._words[self._entry + Entry.RAGGED_PADDING] += max(padding, 0)

    def set_failing(self, examples: int) -> None:
        self._words[self._entry + Entry.GOLDEN_FAILING] = max(examples, 0)

    def record_batch(
        self,
        tickets: Sequence[Ticket],
        rows: int,
        taken_ns: int,
        assembled_ns: int,
        executed_ns: int,
        encoded_ns: int,
        unix_ms: int,
    ) -> None:
        for i, ticket in enumerate(tickets):
            if type(ticket) is not Ticket:
                raise TypeError(f"item {i} of a batch is a Ticket, got {type(ticket).__name__}")
        input_ns = max(assembled_ns - taken_ns, 0)
        infer_ns = max(executed_ns - assembled_ns, 0)
        output_ns = max(encoded_ns - executed_ns, 0)
        for ticket in tickets:
            decode_ns = max(ticket.decode_ns, 0)
            self._observe(Stage.DECODE, decode_ns)
            self._observe(Stage.QUEUE, max(taken_ns - ticket.received_ns - decode_ns, 0))
            self._observe(Stage.ASSEMBLE, input_ns)
            self._observe(Stage.EXECUTE, infer_ns)
            self._observe(Stage.ENCODE, output_ns)
            self._observe(Stage.TOTAL, max(encoded_ns - ticket.received_ns, 0))
        rows = max(rows, 0)
        size = rows if rows <= EXACT_BATCH else BATCH_SIZES - 1
        at = self._body + Body.BATCH_SIZES + size * BATCH_SIZE_WORDS
        for offset, value in enumerate((1, input_ns, infer_ns, output_ns)):
            self._words[at + offset] += value
        self._words[self._entry + Entry.ANSWERED] += len(tickets)
        self._words[self._entry + Entry.ROWS] += rows
        self._words[self._entry + Entry.BATCHES] += 1
        self._words[self._entry + Entry.LAST_INFERENCE_UNIX_MS] = max(unix_ms, 0)

    def _observe(self, stage: Stage, ns: int) -> None:
        at = self._body + Body.STAGES + stage * HISTOGRAM_WORDS
        self._words[at + Histogram.BUCKETS + bucket_of(ns)] += 1
        self._words[at + Histogram.SUM_NS] += ns


class Segment:
    """A worker's shared segment, attached for writing; what an earlier worker counted in it goes on."""

    def __init__(self, fd: int, pid: int, start_unix_ns: int) -> None:
        size = os.fstat(fd).st_size
        if size < SEGMENT_BYTES:
            raise ValueError(f"a segment has {SEGMENT_BYTES} bytes, the file {size}")
        words = self._words = memoryview(mmap.mmap(fd, SEGMENT_BYTES)).cast("Q")
        found = (words[Header.MAGIC], words[Header.LAYOUT_VERSION], words[Header.SLOTS])
        if found != (MAGIC, LAYOUT_VERSION, SLOTS):
            raise ValueError(
                f"expected a segment of layout {LAYOUT_VERSION} with {SLOTS} slots, got magic"
                f" {found[0]:#x}, layout {found[1]}, {found[2]} slots"
            )
        used = words[Header.SLOTS_USED]
        if used > SLOTS:
            raise ValueError(f"a segment has at most {SLOTS} slots in use, got {used}")
        self._indexes: dict[tuple[bytes, bytes], int] = {}
        for index in range(used):
            self._resume(index)
        words[Header.WORKER_PID] = max(pid, 0)
        words[Header.WORKER_START_UNIX_NS] = max(start_unix_ns, 0)
        words[Header.WORKER_STARTS] += 1

    @property
    def memory(self) -> memoryview:
        return self._words.cast("B")

    @property
    def unknown(self) -> Slot:
        return Slot(self._words, UNKNOWN_SLOT)

    def slot(self, model: str, version: str) -> Slot:
        labels = (model.encode("utf-8", "backslashreplace"), version.encode("utf-8", "surrogateescape"))
        index = self._indexes.get(labels)
        if index is None:
            index = self._take(labels)
        return Slot(self._words, index)

    def _take(self, labels: tuple[bytes, bytes]) -> int:
        used = self._words[Header.SLOTS_USED]
        if used >= SLOTS or len(labels[0]) > MODEL_BYTES or len(labels[1]) > VERSION_BYTES:
            self._words[Header.LABELS_WITHOUT_SLOT] += 1
            return OTHER_SLOT
        write_labels(self._words, used, *labels)
        self._words[Header.SLOTS_USED] = used + 1
        self._indexes[labels] = used
        return used

    def _resume(self, index: int) -> None:
        at = DIRECTORY_WORD + index * ENTRY_WORDS
        entry = self._words[at : at + ENTRY_WORDS]
        lengths = entry[Entry.MODEL_LENGTH], entry[Entry.VERSION_LENGTH]
        if lengths[0] > MODEL_BYTES or lengths[1] > VERSION_BYTES:
            raise ValueError(f"slot {index} has labels of {lengths[0]} and {lengths[1]} bytes")
        names = entry.cast("B")
        model = bytes(names[8 * Entry.MODEL : 8 * Entry.MODEL + lengths[0]])
        version = bytes(names[8 * Entry.VERSION : 8 * Entry.VERSION + lengths[1]])
        self._indexes[(model, version)] = index
        ended = sum(entry[Entry.ANSWERED : Entry.LOST + 1]) + sum(
            entry[Entry.REFUSED : Entry.REFUSED + REASONS]
        )
        entry[Entry.LOST] += max(entry[Entry.RECEIVED] - ended, 0)
        for gauge in (Entry.IN_FLIGHT, Entry.QUEUE_DEPTH, Entry.QUEUE_BYTES, Entry.GOLDEN_FAILING):
            entry[gauge] = 0


def write_labels(words: memoryview, index: int, model: bytes, version: bytes) -> None:
    """Writes a free entry's labels and marks it used. The lengths have been checked."""
    at = DIRECTORY_WORD + index * ENTRY_WORDS
    for word, label in ((Entry.MODEL, model), (Entry.VERSION, version)):
        padded = label.ljust(-(-len(label) // 8) * 8, b"\0")
        for i in range(0, len(padded), 8):
            words[at + word + i // 8] = int.from_bytes(padded[i : i + 8], "little")
    words[at + Entry.MODEL_LENGTH] = len(model)
    words[at + Entry.VERSION_LENGTH] = len(version)
    words[at + Entry.USED] = 1
