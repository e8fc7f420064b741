"""The ring of staging buffers: for each bucket of shapes a few slots, each with its buffers on host and device."""

import threading
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import DeviceUnavailable
from steelyard.runtime.memory import DeviceBuffer, Memory, Stream
from steelyard.runtime.runner import SHAPES_KEPT, Layout, Shape

Array = npt.NDArray[Any]

# One batch is prepared, one is on the device, one is answered: a fourth would only wait.
SLOTS = 3

# All that one version stages, on the host as on the device, over its buckets. Page-locked memory is taken from what
# every other process may have, and three batches of 64 pictures (224 x 224, FP32) are 116 MB.
MAX_BYTES = 256 << 20


Bucket = tuple[tuple[int, ...], ...]
"""The dimensions of every input."""


@dataclass(slots=True, eq=False)
class Slot:
    """One batch's place: buffers that keep their addresses for as long as it lives, and a stream for its copies.

    `number` is its own among all slots of its ring, ever. `graphs` holds the sizes (in rows) that were captured on it,
    each with the number of its graph; such a slot is kept for good.
    """

    number: int
    bucket: Bucket
    shape: Shape
    stream: Stream
    inputs: list[DeviceBuffer]
    outputs: list[DeviceBuffer]
    graphs: dict[int, int] = field(default_factory=dict)


class Ring:
    """Hands out slots: at most `slots` for each bucket of shapes, and `max_bytes` in all. Any thread may call it.

    Never waits: who gets none runs without one. Slots that nobody holds give way to other buckets, those of the bucket
    that was longest not asked for first.
    """

    def __init__(self, memory: Memory, capacity: int, slots: int = SLOTS, max_bytes: int = MAX_BYTES) -> None:
        """capacity: rows of each slot, where the version is batched."""
        self.memory = memory
        self.capacity = capacity
        self.held_bytes = 0
        self._slots = slots
        self._max_bytes = max_bytes
        self._free: dict[Bucket, list[Slot]] = {}
        self._made: dict[Bucket, int] = {}
        self._numbers = 0
        self._lock = threading.Lock()

    def take(self, inputs: Layout, outputs: Layout, batched: bool) -> Slot | None:
        """A slot that nobody else has until it is given back; None where the bounds allow for no further one.

        Raises `DeviceUnavailable` where memory runs out before they do.
        """
        bucket = tuple(dims for dims, _ in inputs)
        with self._lock:
            free = self._free.pop(bucket, [])
            # Put back at the end: the first one is that which was longest not asked for.
            self._free[bucket] = free
            if free:
                return free.pop()
            size_bytes = sum(prod(dims) * dtype.itemsize for dims, dtype in (*inputs, *outputs))
            if self._made.get(bucket, 0) >= self._slots or not self._make_room(bucket, size_bytes):
                self._forget_if_empty(bucket)
                return None
            try:
                slot = self._make(bucket, inputs, outputs, batched, size_bytes)
            except DeviceUnavailable:
                self._forget_if_empty(bucket)
                raise
            self._made[bucket] = self._made.get(bucket, 0) + 1
            self.held_bytes += size_bytes
            return slot

    def give_back(self, slot: Slot) -> None:
        """For the next to take."""
        with self._lock:
            self._free.setdefault(slot.bucket, []).append(slot)

    def discard(self, slot: Slot) -> None:
        """In the place of `give_back`, where a copy may still be under way: its memory lives as long as the slot."""
        with self._lock:
            self._drop(slot)

    def _make_room(self, bucket: Bucket, size_bytes: int) -> bool:
        if size_bytes > self._max_bytes:
            return False
        new = bucket not in self._made
        while self.held_bytes + size_bytes > self._max_bytes or (new and len(self._made) >= SHAPES_KEPT):
            other = next(
                (
                    one
                    for one, free in self._free.items()
                    if one != bucket and any(not s.graphs for s in free)
                ),
                None,
            )
            if other is None:
                return False
            free = self._free[other]
            slot = next(slot for slot in free if not slot.graphs)
            free.remove(slot)
            self._drop(slot)
        return True

    def _drop(self, slot: Slot) -> None:
        self.held_bytes -= slot.shape.held_bytes
        self._made[slot.bucket] -= 1
        self._forget_if_empty(slot.bucket)

    def _forget_if_empty(self, bucket: Bucket) -> None:
        if not self._made.get(bucket):
            self._made.pop(bucket, None)
            self._free.pop(bucket, None)

    def _make(self, bucket: Bucket, inputs: Layout, outputs: Layout, batched: bool, size_bytes: int) -> Slot:
        memory = self.memory
        shape = Shape(
            capacity=self.capacity,
            held_bytes=size_bytes,
            inputs=[self._array(dims, dtype) for dims, dtype in inputs],
            outputs=[self._array(dims, dtype) for dims, dtype in outputs],
            row_bytes=[prod(dims[1:] if batched else dims) * dtype.itemsize for dims, dtype in inputs],
            filled={},
            bound={},
        )
        self._numbers += 1
        return Slot(
            number=self._numbers,
            bucket=bucket,
            shape=shape,
            stream=memory.stream(),
            inputs=[memory.device(prod(dims) * dtype.itemsize) for dims, dtype in inputs],
            outputs=[memory.device(prod(dims) * dtype.itemsize) for dims, dtype in outputs],
        )

    def _array(self, dims: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        size_bytes = prod(dims) * dtype.itemsize
        return self.memory.host(size_bytes)[:size_bytes].view(dtype).reshape(dims)
