"""ModelStatistics' numbers come from the counters, in the units that its readers expect."""

from steelyard._native.observe import Segment, Ticket
from steelyard.observe import Refusal
from steelyard.observe.segment import SegmentReader, SlotCounts
from steelyard.observe.statistics import BatchStatistics, Duration, model_statistics


def test_requests_rows_and_batches_are_each_counted_as_themselves(make_fd) -> None:
    fd = make_fd()
    slot = Segment(fd, 1, 1).slot("m", "2")
    slot.received(7)
    for n, rows in ((3, 6), (1, 200)):
        tickets = [Ticket(None, None, rows // n, None, 0, 1_000) for _ in range(n)]
        slot.record_batch(tickets, rows, 3_000, 4_000, 14_000, 14_500, 77 + n)
    slot.failed(5_000)
    slot.refused(Refusal.DEADLINE)
    slot.cancelled()
    statistics = model_statistics(SegmentReader(fd).snapshot().slot("m", "2"))
    assert (statistics.name, statistics.version) == ("m", "2")
    assert statistics.last_inference_unix_ms == 78
    assert (statistics.inference_count, statistics.execution_count) == (206, 2)
    assert statistics.success == Duration(4, 4 * 14_500)
    assert statistics.fail == Duration(2, 5_000)
    assert statistics.queue == Duration(4, 4 * 2_000)
    assert statistics.compute_input == Duration(4, 4 * 1_000)
    assert statistics.compute_infer == Duration(4, 4 * 10_000)
    assert statistics.compute_output == Duration(4, 4 * 500)
    one_batch = Duration(1, 1_000), Duration(1, 10_000), Duration(1, 500)
    assert statistics.batch_stats == (BatchStatistics(6, *one_batch), BatchStatistics(129, *one_batch))


def test_a_model_that_never_ran_is_all_zero() -> None:
    statistics = model_statistics(SlotCounts("m", "1"))
    assert statistics.success == statistics.queue == Duration(0, 0)
    assert (statistics.inference_count, statistics.last_inference_unix_ms, statistics.batch_stats) == (
        0,
        0,
        (),
    )
