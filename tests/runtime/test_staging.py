"""Staging: the ring's bounds, and batches that go through it, on the CPU in the place of a device."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from steelyard.errors import ExecutionFailed
from steelyard.runtime.memory import HostMemory, Memory
from steelyard.runtime.runner import SHAPES_KEPT
from steelyard.runtime.staged import StagedRunner, Staging
from steelyard.runtime.staging import Ring, Slot
from tests.runtime import models
from tests.runtime.device import WatchedMemory, opened, request

FLOATS = np.dtype(np.float32)


def take(ring: Ring, bucket: int) -> Slot | None:
    """A slot of one input and one output of `bucket` numbers a row."""
    dims = (ring.capacity, bucket)
    return ring.take([(dims, FLOATS)], [(dims, FLOATS)], True)


@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "give back", "discard"]), st.integers(1, 2 * SHAPES_KEPT)),
        max_size=80,
    )
)
def test_the_rings_bounds_hold_whatever_is_taken_and_given_back(steps: list[tuple[str, int]]) -> None:
    ring = Ring(HostMemory(), capacity=4, slots=3, max_bytes=1_500)
    held: list[Slot] = []
    for step, number in steps:
        if step == "take":
            slot = take(ring, number)
            if slot is not None:
                assert slot.number not in [other.number for other in held]
                assert slot.shape.inputs[0].shape == (4, number)
                held.append(slot)
            else:
                same = sum(slot.bucket == ((4, number),) for slot in held)
                others = {slot.bucket for slot in held} - {((4, number),)}
                full = sum(s.shape.held_bytes for s in held) + 32 * number > 1_500
                assert same == 3 or full or len(others) >= SHAPES_KEPT
        elif held:
            slot = held.pop(number % len(held))
            (ring.give_back if step == "give back" else ring.discard)(slot)
        assert sum(slot.shape.held_bytes for slot in held) <= ring.held_bytes <= 1_500


def test_a_slot_that_was_given_back_is_taken_again_with_its_addresses() -> None:
    ring = Ring(HostMemory(), capacity=4)
    slot = take(ring, 2)
    assert slot is not None
    addresses = slot.inputs[0].address, slot.shape.inputs[0].ctypes.data
    ring.give_back(slot)
    assert take(ring, 2) is slot
    assert (slot.inputs[0].address, slot.shape.inputs[0].ctypes.data) == addresses


def test_a_slot_with_graphs_gives_way_to_nothing() -> None:
    ring = Ring(HostMemory(), capacity=4, max_bytes=100)
    slot = take(ring, 2)
    assert slot is not None
    slot.graphs[1] = 1
    ring.give_back(slot)
    assert take(ring, 3) is None
    assert take(ring, 2) is slot


def staging_of(
    file: Path, capacity: int = 4, memory: Memory | None = None, slots: int = 3
) -> Callable[[], StagedRunner]:
    session, spec = opened(file)
    staging = Staging(session, Ring(memory or HostMemory(), capacity, slots))
    return lambda: staging.runner(spec)


def answer(runner: StagedRunner, rows: np.ndarray[Any, Any], key: tuple[int, ...] = ()) -> Any:
    shape, arrays = runner.fill([request(row[None]) for row in rows], len(rows), key)
    (output,) = runner.run(shape, arrays, len(rows))
    return output.copy()


@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.BFLOAT16, TensorProto.BOOL])
def test_batches_of_every_size_give_what_they_are_given(tmp_path: Path, element: int) -> None:
    runner = staging_of(models.identity(tmp_path, element, ["n", 3]))()
    dtype = {TensorProto.FLOAT: np.float32, TensorProto.BFLOAT16: np.uint16}.get(element, np.bool_)
    rng = np.random.default_rng(2)
    for rows in (1, 4, 3, 1, 2, 4):
        values = rng.integers(0, 2, (rows, 3)).astype(dtype)
        assert np.array_equal(answer(runner, values), values)
        assert runner.is_staged


def test_more_rows_than_a_slot_and_more_shapes_than_are_kept(tmp_path: Path) -> None:
    runner = staging_of(models.summed(tmp_path))()
    for width in (*range(1, 2 * SHAPES_KEPT), 1):
        for rows in (2, 7):
            values = np.random.default_rng(width).integers(0, 9, (rows, width)).astype(np.float32)
            assert np.array_equal(answer(runner, values, (width,))[:, 0], values.sum(1))
            assert runner.is_staged == (rows == 2)
    runner.release()
    other = np.ones((2, 5), np.float32)
    assert answer(runner, other, (1,)).tolist() == [[5], [5]], "shapes are told apart whatever the key says"


@pytest.mark.parametrize("dims", [[], [2, 2], [0, 3]])
def test_models_without_a_batch_axis(tmp_path: Path, dims: list[int]) -> None:
    runner = staging_of(models.identity(tmp_path, TensorProto.FLOAT, dims), capacity=1)()
    values = np.arange(int(np.prod(dims)), dtype=np.float32).reshape(dims)
    shape, arrays = runner.fill([request(values)], 1, ())
    (output,) = runner.run(shape, arrays, 1)
    assert np.array_equal(output, values)
    assert output.shape == tuple(dims)


def test_one_batch_is_prepared_and_copied_while_another_is_under_way(tmp_path: Path) -> None:
    """Neither wait for the device ends before the other has begun, which only two batches beside each other get to."""
    both = threading.Barrier(2)
    memory = WatchedMemory(on_wait=lambda: both.wait(20) and None)
    make = staging_of(models.scaled(tmp_path), memory=memory)
    with ThreadPoolExecutor(2) as threads:
        values = [np.full((2, 3), number, np.float32) for number in (1, 2)]
        for value, found in zip(values, threads.map(answer, [make(), make()], values), strict=True):
            assert np.array_equal(found, 2 * value)


def test_no_more_batches_are_staged_at_a_time_than_there_are_slots(tmp_path: Path) -> None:
    make = staging_of(models.scaled(tmp_path), slots=2)
    runners = [make() for _ in range(3)]
    values = np.ones((2, 3), np.float32)
    for runner in runners:
        assert np.array_equal(answer(runner, values), 2 * values)
    assert [runner.is_staged for runner in runners] == [True, True, False]
    runners[0].release()
    answer(runners[2], values)
    assert runners[2].is_staged


def test_many_batches_on_threads_each_give_their_own_rows(tmp_path: Path) -> None:
    make = staging_of(models.scaled(tmp_path))

    def work(seed: int) -> None:
        runner, rng = make(), np.random.default_rng(seed)
        for _ in range(50):
            values = rng.random((int(rng.integers(1, 5)), 3), np.float32)
            assert np.array_equal(answer(runner, values), 2 * values)
        runner.release()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))


def test_a_run_that_fails_leaves_its_slot_to_the_next(tmp_path: Path) -> None:
    runner = staging_of(models.embedding(tmp_path, length=2), slots=1)()
    for ids in ([[1, 2]], [[99, 0]], [[3, 4]]):
        values = np.array(ids, np.int64)
        shape, arrays = runner.fill([request(values)], 1, ())
        if values.max() >= 50:
            with pytest.raises(Exception, match="out of"):
                runner.run(shape, arrays, 1)
        else:
            assert runner.run(shape, arrays, 1)[0][0, :, 0].tolist() == [2 * one for one in ids[0]]
        assert runner.is_staged


def test_a_slot_whose_copy_failed_is_nobodys_again(tmp_path: Path) -> None:
    memory = WatchedMemory()
    runner = staging_of(models.scaled(tmp_path), memory=memory, slots=1)()
    values = np.ones((2, 3), np.float32)
    answer(runner, values)
    memory.failing_copies = 1
    with pytest.raises(ExecutionFailed, match="the device is gone"):
        answer(runner, values)
    assert not runner.is_staged
    assert np.array_equal(answer(runner, values), 2 * values)
    assert runner.is_staged


def test_where_memory_is_short_batches_run_without_being_staged(tmp_path: Path) -> None:
    runner = staging_of(models.scaled(tmp_path), memory=WatchedMemory(room_bytes=10))()
    values = np.ones((2, 3), np.float32)
    assert np.array_equal(answer(runner, values), 2 * values)
    assert not runner.is_staged
