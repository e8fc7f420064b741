"""Decision ids are UUIDv7, rise within a process, and come out of both implementations alike."""

import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native import decision as native
from steelyard.observe import decision_ids as plain

SEED = bytes(range(32))
NOW_MS = 1_700_000_000_123

calls = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5) | st.integers(0, 2**48 - 3)), max_size=20)
seeds = st.binary(min_size=32, max_size=32).filter(any)


@pytest.fixture(params=[native, plain], ids=["native", "plain"])
def source(request):
    return request.param.IdSource(SEED)


@given(seeds, calls)
def test_native_and_plain_give_the_same_ids(seed: bytes, calls: list[tuple[int, int]]) -> None:
    a, b = native.IdSource(seed), plain.IdSource(seed)
    for n, unix_ms in calls:
        assert a.new_ids(n, unix_ms) == b.new_ids(n, unix_ms)


def test_a_counter_that_runs_out_takes_the_next_millisecond_in_both() -> None:
    assert native.IdSource(SEED).new_ids(10_000, 5) == plain.IdSource(SEED).new_ids(10_000, 5)


@given(seeds, calls)
def test_ids_rise_whatever_the_clock_does(seed: bytes, calls: list[tuple[int, int]]) -> None:
    ids_source = native.IdSource(seed)
    ids = [one for n, unix_ms in calls for one in ids_source.new_ids(n, unix_ms)]
    assert ids == sorted(set(ids))


def test_the_fields_are_those_of_rfc_9562(source) -> None:
    for text in source.new_ids(100, NOW_MS):
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert parsed.int >> 80 == NOW_MS


def test_one_milliseconds_ids_share_nothing_but_the_time(source) -> None:
    tails = {uuid.UUID(text).int & ((1 << 62) - 1) for text in source.new_ids(2_000, NOW_MS)}
    assert len(tails) == 2_000


def test_every_random_bit_is_used(source) -> None:
    ids = [uuid.UUID(text).int for text in source.new_ids(500, NOW_MS)]
    seen_set = seen_clear = 0
    for value in ids:
        seen_set |= value
        seen_clear |= ~value
    mask = (1 << 62) - 1
    assert seen_set & mask == mask
    assert seen_clear & mask == mask


def test_ids_go_on_rising_when_the_clock_steps_back_an_hour(source) -> None:
    first = source.new_ids(1, NOW_MS)
    later = source.new_ids(5_000, NOW_MS - 3_600_000)
    assert first + later == sorted(first + later)
    assert uuid.UUID(later[-1]).int >> 80 <= NOW_MS + 3


@pytest.mark.parametrize(
    ("n", "unix_ms", "message"),
    [(-1, 0, "got -1"), (2**20 + 1, 0, "got 1048577"), (1, -1, "got -1"), (1, 2**48, "got 2814")],
)
def test_counts_and_times_out_of_range_are_refused(source, n: int, unix_ms: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source.new_ids(n, unix_ms)


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), bytes(32)])
@pytest.mark.parametrize("module", [native, plain], ids=["native", "plain"])
def test_a_seed_without_randomness_is_refused(module, seed: bytes) -> None:
    with pytest.raises(ValueError, match="a seed is 32 bytes, not all zero"):
        module.IdSource(seed)


def test_the_end_of_time_is_an_error_and_stays_one(source) -> None:
    last = 2**48 - 1
    with pytest.raises(OverflowError, match="48 bits"):
        source.new_ids(10_000, last)
    with pytest.raises(OverflowError, match="48 bits"):
        source.new_ids(1, last)


def test_a_reseeded_source_goes_on_rising_with_other_randomness(source) -> None:
    before = source.new_ids(3, NOW_MS)
    source.reseed(bytes([7]) * 32)
    after = source.new_ids(3, NOW_MS)
    assert before + after == sorted(before + after)


def test_two_processes_and_a_forked_child_share_no_id() -> None:
    program = (
        "import os\n"
        "from steelyard._native.decision import new_ids\n"
        "child = os.fork()\n"
        "os.write(1, '\\n'.join([*new_ids(20, 5), '']).encode())\n"
        "os._exit(0) if child == 0 else os.waitpid(child, 0)\n"
    )
    tails: list[str] = []
    for _ in range(2):
        out = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
        tails += [line[-12:] for line in out.stdout.split()]
    assert len(tails) == len(set(tails)) == 80


def test_the_processes_own_source_rises_over_calls() -> None:
    ids = native.new_ids(3, NOW_MS) + native.new_ids(3, NOW_MS - 5)
    assert ids == sorted(set(ids))
