"""The server's own account, read back from a page of /metrics that its collector wrote."""

import os

import pytest

from steelyard._native.observe import Segment, Ticket
from steelyard.demo.stages import STAGES, StageHistogram, account_of
from steelyard.observe.collector import exposition, metrics_registry
from steelyard.observe.layout import Stage
from steelyard.observe.segment import SegmentReader
from steelyard.observe.segment_file import create_segment
from steelyard.observe.view import WorkerView


@pytest.fixture
def page():
    """Version 1 had two batches of three requests each, version 2 one request."""
    fd = create_segment("test")
    segment = Segment(fd, os.getpid(), 1)
    first, second = segment.slot("filetype", "1"), segment.slot("filetype", "2")
    for execute_ns in (40_000_000, 80_000_000):
        first.received(3)
        tickets = [Ticket(None, None, 1, None, 0, 10_000) for _ in range(3)]
        times = (1_000_000, 1_500_000, 1_500_000 + execute_ns, 1_600_000 + execute_ns)
        first.record_batch(tickets, 3, *times, 1)
    second.received(1)
    second.record_batch([Ticket(None, None, 1, None, 0, 10_000)], 1, 20_000, 30_000, 40_000, 50_000, 1)
    view = WorkerView(0, SegmentReader(fd), True, 0)
    yield exposition(metrics_registry(lambda: [view]), "")[0].decode()
    os.close(fd)


def test_what_the_server_counted_for_one_version(page):
    account = account_of(page, "filetype", "1")
    assert (account.rows, account.batches, account.mean_batch_rows) == (6, 2, 3.0)
    stages = {stage.stage: stage for stage in account.stages}
    assert [stage.count for stage in account.stages] == [6] * 6
    assert stages["execute"].mean_ms == pytest.approx(60)
    assert stages["queue"].mean_ms == pytest.approx(0.99)
    assert stages["total"].mean_ms == pytest.approx(61.6)
    assert sum(stages["execute"].counts()) == 6
    assert 33 < stages["execute"].percentile_ms(50) <= 68
    assert 68 < stages["execute"].percentile_ms(99) <= 135


def test_a_version_that_nobody_asked(page):
    account = account_of(page, "filetype", "3")
    assert (account.rows, account.batches, account.mean_batch_rows) == (0, 0, 0.0)
    assert all(stage.count == 0 and stage.mean_ms == 0 for stage in account.stages)
    assert all(stage.percentile_ms(99) == 0 for stage in account.stages)


def test_the_stages_are_the_servers():
    assert [stage.name.lower() for stage in Stage] == list(STAGES)


def test_percentiles_within_a_bucket_and_above_the_last():
    stage = StageHistogram("execute", 12, 1.0, (0.001, 0.002, 0.004), (0, 10, 10))
    assert stage.counts() == (0, 10, 0)
    assert stage.percentile_ms(0) == pytest.approx(1)
    assert stage.percentile_ms(100 * 5 / 12) == pytest.approx(1.5)
    assert stage.percentile_ms(99) == pytest.approx(4)
