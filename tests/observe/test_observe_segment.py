"""What a worker counts is what the supervisor reads; native and plain write the same bytes."""

import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native import observe as native
from steelyard.errors import (
    Cancelled,
    DeadlineExpired,
    ExecutionFailed,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    TooLarge,
    Unavailable,
    Unsupported,
)
from steelyard.observe import Refusal, Stage, plain, refusal_of
from steelyard.observe.layout import (
    BATCH_SIZES,
    BODIES_WORD,
    BODY_WORDS,
    MODEL_BYTES,
    OTHER_MODEL,
    SEGMENT_BYTES,
    SLOTS,
)
from steelyard.observe.segment import SegmentReader, StepCounts, merge
from steelyard.observe.segment_file import create_segment
from steelyard.pipelines.problems import ACTIONS, RULES

PID, START = 4711, 1_700_000_000_000_000_000


def tickets_of(writer: ModuleType, times: list[tuple[int, int]]) -> list[Any]:
    return [writer.Ticket(None, None, 1, "key", received, decoded - received) for received, decoded in times]


def one_batch(writer: ModuleType, slot: Any, n: int = 3, rows: int = 6) -> None:
    slot.received(n)
    tickets = tickets_of(writer, [(1_000 * i, 1_000 * i + 500) for i in range(n)])
    slot.record_batch(tickets, rows, 10_000, 12_000, 52_000, 53_000, 1_700_000_000_123)


def test_a_batch_is_read_back_in_every_stage(writer, make_fd) -> None:
    fd = make_fd()
    one_batch(writer, writer.Segment(fd, PID, START).slot("digits", "7"))
    snapshot = SegmentReader(fd).snapshot()
    counts = snapshot.slot("digits", "7")
    assert (counts.received, counts.answered, counts.rows, counts.batches) == (3, 3, 6, 1)
    assert counts.last_inference_unix_ms == 1_700_000_000_123
    assert {stage.name: counts.stages[stage].count for stage in Stage} == dict.fromkeys(Stage.__members__, 3)
    sums = {stage: counts.stages[stage].sum_ns for stage in Stage}
    assert sums == {
        Stage.DECODE: 3 * 500,
        Stage.QUEUE: 9_500 + 8_500 + 7_500,
        Stage.ASSEMBLE: 3 * 2_000,
        Stage.EXECUTE: 3 * 40_000,
        Stage.ENCODE: 3 * 1_000,
        Stage.TOTAL: 53_000 + 52_000 + 51_000,
    }
    assert counts.batch_sizes[6].tolist() == [1, 2_000, 40_000, 1_000]
    assert (snapshot.worker_pid, snapshot.worker_start_unix_ns, snapshot.worker_starts) == (PID, START, 1)
    assert snapshot.unaccounted() == {}


def test_requests_end_once_and_the_counts_add_up(writer, make_fd) -> None:
    fd = make_fd()
    segment, reader = writer.Segment(fd, PID, START), SegmentReader(fd)
    slot = segment.slot("m", "1")
    one_batch(writer, slot)
    slot.received(5)
    slot.refused(Refusal.QUEUE_FULL)
    slot.failed(9_000)
    slot.cancelled()
    slot.set_gauges(2, 1, 640)
    segment.unknown.received()
    assert reader.snapshot().unaccounted() == {("", ""): 1}
    segment.unknown.refused(Refusal.NOT_FOUND)
    snapshot = reader.snapshot()
    assert snapshot.unaccounted() == {}
    counts = snapshot.slot("m", "1")
    assert counts.refused[Refusal.QUEUE_FULL] == counts.refused_total == 1
    assert (counts.failed, counts.failed_ns, counts.cancelled) == (1, 9_000, 1)
    assert (counts.in_flight, counts.queue_depth, counts.queue_bytes) == (2, 1, 640)


def test_a_worker_that_comes_back_goes_on_and_counts_what_was_lost(writer, make_fd) -> None:
    fd = make_fd()
    slot = writer.Segment(fd, PID, START).slot("modèle", "1")
    one_batch(writer, slot)
    slot.received(4)
    slot.set_gauges(4, 3, 99)
    again = writer.Segment(fd, PID + 1, START + 5)
    snapshot = SegmentReader(fd).snapshot()
    counts = snapshot.slot("modèle", "1")
    assert (counts.received, counts.answered, counts.lost, counts.in_flight) == (7, 3, 4, 0)
    assert (counts.queue_depth, counts.queue_bytes) == (0, 0)
    assert (snapshot.worker_pid, snapshot.worker_starts) == (PID + 1, 2)
    assert again.slot("modèle", "1").index == slot.index
    writer.Segment(fd, PID + 2, START + 9)
    assert SegmentReader(fd).snapshot().slot("modèle", "1").lost == 4


def test_golden_examples_are_counted_apart_from_requests(writer, make_fd) -> None:
    first, second = make_fd(), make_fd()
    for fd, failing in ((first, 1), (second, 2)):
        slot = writer.Segment(fd, PID, START).slot("m", "1")
        slot.examined(3, 0, 1_700_000_000_000)
        slot.examined(1, failing, 1_700_000_000_000 + failing)
        slot.set_failing(failing)
    snapshots = [SegmentReader(fd).snapshot() for fd in (first, second)]
    counts = snapshots[0].slot("m", "1")
    assert (counts.golden_passed, counts.golden_failed, counts.golden_failing) == (4, 1, 1)
    assert counts.golden_last_unix_ms == 1_700_000_000_001
    assert (counts.received, counts.answered, counts.batches, counts.unaccounted) == (0, 0, 0, 0)
    both = merge(snapshots)["m", "1"]
    assert (both.golden_passed, both.golden_failed, both.golden_failing) == (8, 3, 3)
    assert both.golden_last_unix_ms == 1_700_000_000_002
    assert snapshots[0].without_gauges().slot("m", "1").golden_failing == 0
    writer.Segment(first, PID + 1, START + 5)
    again = SegmentReader(first).snapshot().slot("m", "1")
    assert (again.golden_passed, again.golden_failing) == (4, 0)


def test_labels_that_find_no_slot_are_counted_together(writer, make_fd) -> None:
    fd = make_fd()
    segment = writer.Segment(fd, PID, START)
    segment.slot("x" * (MODEL_BYTES + 1), "1").received()
    for i in range(SLOTS):
        segment.slot(f"model-{i}", "1").received()
    snapshot = SegmentReader(fd).snapshot()
    assert snapshot.labels_without_slot == 3
    assert snapshot.slot(OTHER_MODEL, "").received == 3
    assert len(snapshot.slots) == SLOTS
    writer.Segment(fd, PID, START)


def test_names_of_every_kind_come_back(writer, make_fd) -> None:
    fd = make_fd()
    names = ["a", "ab" * 128, "é" * 128, 'quote"', "new\nline", "nul\0in", "模型", "", "12345678"]
    segment = writer.Segment(fd, PID, START)
    indexes = {name: segment.slot(name, "1").index for name in names}
    assert len(set(indexes.values())) == len(names)
    snapshot = SegmentReader(fd).snapshot()
    assert [slot.model for slot in snapshot.slots][2:] == names
    resumed = writer.Segment(fd, PID, START)
    assert {name: resumed.slot(name, "1").index for name in names} == indexes


def test_a_name_that_is_no_text_is_shown_escaped(writer, make_fd) -> None:
    fd = make_fd()
    segment = writer.Segment(fd, PID, START)
    name = os.fsdecode(b"caf\xe9")
    assert segment.slot(name, "1").index == segment.slot(name, "1").index
    assert SegmentReader(fd).snapshot().slots[-1].model == r"caf\udce9"


def test_stamps_out_of_order_count_as_zero(writer, make_fd) -> None:
    fd = make_fd()
    slot = writer.Segment(fd, PID, START).slot("m", "1")
    slot.received()
    slot.record_batch(tickets_of(writer, [(9_000, 5_000)]), -4, 900, 800, 700, 600, -1)
    counts = SegmentReader(fd).snapshot().slot("m", "1")
    assert [histogram.sum_ns for histogram in counts.stages] == [0] * len(Stage)
    assert [int(histogram.buckets[0]) for histogram in counts.stages] == [1] * len(Stage)
    assert (counts.rows, counts.last_inference_unix_ms) == (0, 0)
    assert counts.batch_sizes[0, 0] == 1


@pytest.mark.parametrize(("rows", "entry"), [(0, 0), (1, 1), (128, 128), (129, 129), (10**9, 129)])
def test_sizes_are_exact_up_to_128(writer, make_fd, rows: int, entry: int) -> None:
    fd = make_fd()
    one_batch(writer, writer.Segment(fd, PID, START).slot("m", "1"), rows=rows)
    counts = SegmentReader(fd).snapshot().slot("m", "1")
    assert counts.batch_sizes[:, 0].nonzero()[0].tolist() == [entry]
    assert entry < BATCH_SIZES
    assert counts.rows == rows


def test_what_is_no_ticket_is_refused_and_nothing_counted(writer, make_fd) -> None:
    fd = make_fd()
    slot = writer.Segment(fd, PID, START).slot("m", "1")
    with pytest.raises(TypeError, match="item 1 of a batch is a Ticket, got int"):
        slot.record_batch([*tickets_of(writer, [(1, 2)]), 3], 1, 1, 2, 3, 4, 5)
    assert SegmentReader(fd).snapshot().slot("m", "1").batches == 0


@pytest.mark.parametrize("reason", [-1, 16])
def test_a_reason_outside_is_refused(writer, make_fd, reason: int) -> None:
    slot = writer.Segment(make_fd(), PID, START).slot("m", "1")
    with pytest.raises(ValueError, match=f"reason is 0..15, got {reason}"):
        slot.refused(reason)


def test_negative_numbers_never_lower_a_count(writer, make_fd) -> None:
    fd = make_fd()
    slot = writer.Segment(fd, PID, START).slot("m", "1")
    slot.received(-5)
    slot.failed(-5)
    slot.set_gauges(-1, -2, -3)
    counts = SegmentReader(fd).snapshot().slot("m", "1")
    assert (counts.received, counts.failed_ns, counts.in_flight, counts.queue_depth) == (0, 0, 0, 0)


def test_a_ticket_holds_what_it_was_given(writer) -> None:
    ticket = writer.Ticket("call", "request", 3, ("key",), 10, 20, 30, 2, 400)
    assert (ticket.call, ticket.request, ticket.key, ticket.rows) == ("call", "request", ("key",), 3)
    assert (ticket.received_ns, ticket.decode_ns, ticket.deadline_ns) == (10, 20, 30)
    assert (ticket.priority, ticket.size_bytes, ticket.state) == (2, 400, 0)
    ticket.state, ticket.deadline_ns, ticket.call = 1, -5, None
    assert (ticket.state, ticket.deadline_ns, ticket.call) == (1, -5, None)


def test_native_slots_are_made_by_their_segment_only() -> None:
    with pytest.raises(TypeError, match=r"made by Segment\.slot"):
        native.Slot()


def test_a_slot_outlives_its_segment_object(writer, make_fd) -> None:
    fd = make_fd()
    slot = writer.Segment(fd, PID, START).slot("m", "1")
    slot.received()
    assert SegmentReader(fd).snapshot().slot("m", "1").received == 1


def test_a_file_that_is_no_segment_is_refused(writer, tmp_path) -> None:
    short, foreign = tmp_path / "short", tmp_path / "foreign"
    short.write_bytes(b"abc")
    with foreign.open("wb") as file:
        file.write(b"notasegm")
        file.truncate(SEGMENT_BYTES)
    with short.open("r+b") as file, pytest.raises(ValueError, match="bytes, the file 3"):
        writer.Segment(file.fileno(), PID, START)
    with foreign.open("r+b") as file:
        with pytest.raises(ValueError, match="expected a segment of layout 3"):
            writer.Segment(file.fileno(), PID, START)
        with pytest.raises(ValueError, match="expected a segment, got a file that begins with"):
            SegmentReader(file.fileno())


def test_damaged_headers_are_refused(writer, make_fd) -> None:
    many, long = make_fd(), make_fd()
    os.pwrite(many, (SLOTS + 1).to_bytes(8, "little"), 3 * 8)
    with pytest.raises(ValueError, match="at most 4096 slots in use, got 4097"):
        writer.Segment(many, PID, START)
    assert len(SegmentReader(many).snapshot().slots) == 2
    os.pwrite(long, (2**63).to_bytes(8, "little"), 4096 + 8)
    with pytest.raises(ValueError, match="slot 0 has labels of 9223372036854775808 and 0 bytes"):
        writer.Segment(long, PID, START)
    SegmentReader(long).snapshot()


def test_nobody_can_cut_a_segment_short(make_fd) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(make_fd(), 4096)


def test_idle_models_cost_neither_writer_nor_reader_their_pages(writer, make_fd) -> None:
    fd = make_fd()
    segment = writer.Segment(fd, PID, START)
    for i in range(1_500):
        segment.slot(f"model-{i}", "1")
    reader = SegmentReader(fd)
    reader.snapshot()
    assert len(reader.snapshot().slots) == 1_502
    assert os.fstat(fd).st_blocks * 512 < 1_200_000


def test_one_slot_can_be_read_alone(writer, make_fd) -> None:
    fd = make_fd()
    slot = writer.Segment(fd, PID, START).slot("m", "1")
    one_batch(writer, slot)
    reader = SegmentReader(fd)
    counts = reader.slot(slot.index)
    assert (counts.model, counts.version, counts.answered) == ("m", "1", 3)
    assert counts.stages[Stage.QUEUE].count == 3
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"slot {index} is not among the 3 in use"):
            reader.slot(index)


def test_a_snapshot_stands_still(writer, make_fd) -> None:
    fd = make_fd()
    slot = writer.Segment(fd, PID, START).slot("m", "1")
    one_batch(writer, slot)
    before = SegmentReader(fd).snapshot().slot("m", "1")
    one_batch(writer, slot)
    assert before.stages[Stage.TOTAL].count == 3
    assert before.batch_sizes[6, 0] == 1


def test_another_process_is_read_without_being_asked(make_fd) -> None:
    fd = make_fd()
    program = (
        "import os, sys; from steelyard._native.observe import Segment, Ticket\n"
        "slot = Segment(int(sys.argv[1]), os.getpid(), 1).slot('m', '1')\n"
        "slot.received(2); slot.record_batch([Ticket(None, None, 1, '', 0, 9)] * 2, 2, 9, 9, 99, 99, 7)\n"
        "print(os.getpid(), flush=True); sys.stdin.read(); os._exit(9)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(fd)],
        pass_fds=[fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        pid = int(child.stdout.readline())
        snapshot = SegmentReader(fd).snapshot()
        child.stdin.close()
    assert snapshot.worker_pid == pid
    assert snapshot.slot("m", "1").answered == 2
    assert SegmentReader(fd).snapshot().slot("m", "1").answered == 2


def test_a_slot_is_found_by_its_labels_also_one_that_came_later(writer, make_fd) -> None:
    fd = make_fd()
    segment, reader = writer.Segment(fd, PID, START), SegmentReader(fd)
    assert reader.find("m", "1") is None
    segment.slot("other", "1").received(3)
    segment.slot("m", "1").received(2)
    for model, count in (("m", 2), ("other", 3)):
        found = reader.find(model, "1")
        assert found is not None
        assert (found.model, found.version, found.received) == (model, "1", count)
    assert reader.find("m", "2") is None


def test_workers_are_merged_by_model_and_version(writer, make_fd) -> None:
    first, second = make_fd(), make_fd()
    one_batch(writer, writer.Segment(first, 1, 1).slot("m", "1"))
    b = writer.Segment(second, 2, 2)
    one_batch(writer, b.slot("other", "1"))
    one_batch(writer, b.slot("m", "1"), n=2, rows=4)
    b.slot("m", "1").set_gauges(1, 1, 1)
    snapshots = [SegmentReader(fd).snapshot() for fd in (first, second)]
    counts = merge(snapshots)["m", "1"]
    assert (counts.received, counts.answered, counts.rows, counts.batches) == (5, 5, 10, 2)
    assert counts.stages[Stage.TOTAL].count == 5
    assert counts.batch_sizes[[4, 6], 0].tolist() == [1, 1]
    assert counts.in_flight == 1
    assert merge(s.without_gauges() for s in snapshots)["m", "1"].in_flight == 0
    assert merge([]) == {}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidRequest("x"), Refusal.INVALID),
        (ModelNotFound("x"), Refusal.NOT_FOUND),
        (Unavailable("x"), Refusal.NOT_READY),
        (Unsupported("x"), Refusal.UNSUPPORTED),
        (TooLarge("x"), Refusal.TOO_LARGE),
        (Overloaded("x", 5), Refusal.QUEUE_FULL),
        (DeadlineExpired("x"), Refusal.DEADLINE),
        (Cancelled("x"), None),
        (ExecutionFailed("x"), None),
        (RuntimeError("x"), None),
    ],
)
def test_errors_have_their_reason(error: Exception, reason: Refusal | None) -> None:
    assert refusal_of(error) is reason


stamp = st.integers(0, 2**40)
labels = st.tuples(st.sampled_from(["a", "b", "x" * 300]) | st.text(max_size=6), st.sampled_from(["1", "2"]))
batch = st.tuples(
    st.lists(st.tuples(stamp, stamp), max_size=5), st.integers(-1, 200), st.tuples(*[stamp] * 5)
)
operation = st.one_of(
    st.tuples(st.just("received"), st.integers(-1, 5)),
    st.tuples(st.just("refused"), st.integers(0, 15)),
    st.tuples(st.just("failed"), st.integers(-1, 2**40)),
    st.tuples(st.just("cancelled")),
    st.tuples(st.just("set_gauges"), stamp, stamp, stamp),
    st.tuples(st.just("examined"), st.integers(-1, 5), st.integers(-1, 5), stamp),
    st.tuples(st.just("set_failing"), st.integers(-1, 5)),
    st.tuples(st.just("batch"), batch),
    st.tuples(st.just("restart"), st.integers(1, 2**31), stamp),
)


def play(writer: ModuleType, fd: int, operations: list[Any]) -> None:
    segment = writer.Segment(fd, PID, START)
    for (model, version), (name, *arguments) in operations:
        slot = segment.slot(model, version)
        if name == "restart":
            segment = writer.Segment(fd, *arguments)
        elif name == "batch":
            times, rows, stamps = arguments[0]
            slot.record_batch(tickets_of(writer, times), rows, *stamps)
        else:
            getattr(slot, name)(*arguments)


@given(st.lists(st.tuples(labels, operation), max_size=12))
def test_native_and_plain_write_the_same_bytes(operations: list[Any]) -> None:
    fds = create_segment("native"), create_segment("plain")
    try:
        for fd, writer in zip(fds, (native, plain), strict=True):
            play(writer, fd, operations)
        upto = 8 * (BODIES_WORD + 16 * BODY_WORDS)
        assert os.pread(fds[0], upto, 0) == os.pread(fds[1], upto, 0)
    finally:
        for fd in fds:
            os.close(fd)


def test_steps_are_named_counted_and_begin_anew_under_other_names(writer, make_fd) -> None:
    fd = make_fd()
    slot, reader = writer.Segment(fd, PID, START).slot("m", "1"), SegmentReader(fd)
    slot.record_steps([1], [1], [0])
    assert reader.slot(slot.index).steps == {}
    slot.name_steps(["prepare ä", "fill x", "prepare ä"])
    slot.record_steps([5, 7, 9], [1, 0, 2], [0, 0, 1])
    slot.record_steps([5], [1], [1])
    slot.record_steps([0] * 40, [0] * 39 + [1], [0] * 40)
    steps = reader.slot(slot.index).steps
    assert steps == {"prepare ä": StepCounts(5, 2, 19), "fill x": StepCounts(0, 0, 0)}
    slot.name_steps(["prepare ä", "fill y"])
    assert reader.slot(slot.index).steps == {"prepare ä": StepCounts(2, 1, 10), "fill y": StepCounts(0, 0, 0)}
    with pytest.raises(ValueError, match="expected 1 steps"):
        slot.record_steps([1], [1, 1], [0])


def test_of_more_steps_than_there_is_room_for_the_last_are_one(writer, make_fd) -> None:
    fd = make_fd()
    slot, reader = writer.Segment(fd, PID, START).slot("m", "1"), SegmentReader(fd)
    slot.name_steps([f"prepare {n} " + "ä" * 100 for n in range(40)])
    slot.record_steps([1] * 40, [1] * 40, [0] * 40)
    steps = reader.slot(slot.index).steps
    assert len(steps) == 32
    assert steps["rest of the steps"] == StepCounts(9, 0, 9)
    assert all(len(name.encode()) <= 96 for name in steps)


def test_rules_are_counted_by_what_was_done(writer, make_fd) -> None:
    fd = make_fd()
    slot, reader = writer.Segment(fd, PID, START).slot("m", "1"), SegmentReader(fd)
    slot.name_steps(["prepare contract"])
    slot.record_rule(RULES.index("range"), ACTIONS.index("mark"), 3)
    slot.record_rule(RULES.index("range"), ACTIONS.index("mark"))
    slot.record_rule(RULES.index("missing"), ACTIONS.index("impute"), 0)
    assert reader.slot(slot.index).rules == {("range", "mark"): 4}
    for rule, action in ((-1, 0), (32, 0), (0, 4), (0, -1)):
        with pytest.raises(ValueError, match=r"a rule is 0\.\.31 and an action 0\.\.3"):
            slot.record_rule(rule, action)
    assert len(RULES) <= 32


def test_versions_without_a_slot_of_their_own_share_no_steps(writer, make_fd) -> None:
    fd = make_fd()
    slot, reader = writer.Segment(fd, PID, START).slot("m" * (MODEL_BYTES + 1), "1"), SegmentReader(fd)
    slot.name_steps(["prepare contract"])
    slot.record_steps([1], [1], [0])
    assert reader.slot(slot.index).model == OTHER_MODEL
    assert reader.slot(slot.index).steps == {}


@given(st.lists(st.tuples(st.text(max_size=120), st.integers(0, 2**40), st.integers(0, 9)), max_size=40))
def test_native_and_plain_write_the_same_steps(steps: list[tuple[str, int, int]]) -> None:
    contents = []
    for writer in (native, plain):
        fd = create_segment("test")
        try:
            slot = writer.Segment(fd, PID, START).slot("m", "1")
            slot.name_steps([name for name, _, _ in steps])
            slot.record_steps([ns for _, ns, _ in steps], [1] * len(steps), [bad for _, _, bad in steps])
            slot.record_rule(len(steps) % 32, len(steps) % 4, len(steps))
            contents.append(os.pread(fd, 8 * BODY_WORDS, 8 * (BODIES_WORD + slot.index * BODY_WORDS)))
        finally:
            os.close(fd)
    assert contents[0] == contents[1]
