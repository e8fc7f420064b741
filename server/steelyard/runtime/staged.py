"""A runner whose batches go through staging buffers: copied to the device, run there, copied back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steelyard.errors import DeviceUnavailable, ExecutionFailed
from steelyard.models.spec import ModelSpec
from steelyard.runtime.device_session import DeviceSession
from steelyard.runtime.graphs import NO_GRAPH, captured_size, graph_number
from steelyard.runtime.independence import difference
from steelyard.runtime.ragged import Ragged
from steelyard.runtime.runner import Array, Bound, Runner, Shape, element_of, make_place
from steelyard.runtime.staging import Ring, Slot
from steelyard.wire.types import InferRequest


class StagedRunner(Runner):
    """A runner whose buffers are a slot of a ring, from `fill` until its next one or `release`.

    It waits for the device three times (for the inputs, for the run, for the outputs), each time without the
    interpreter's lock, so that what other runners of the ring do goes on: they fill their slots and copy on streams of
    their own. A batch for which there is no slot runs plainly.
    """

    def __init__(
        self,
        session: DeviceSession,
        spec: ModelSpec,
        ring: Ring,
        shared: bool = True,
        prepared: bool = False,
        ragged: Ragged | None = None,
    ) -> None:
        super().__init__(session, spec, ring.capacity, shared, prepared, ragged)
        self._device_session = session
        self._ring = ring
        self._slot: Slot | None = None

    def fill(
        self, requests: Sequence[InferRequest], rows: int, key: Any, longest: int = 0
    ) -> tuple[Shape | None, list[Array]]:
        self.release()
        return super().fill(requests, rows, key, longest)

    @property
    def is_staged(self) -> bool:
        """Whether what was filled last is in a slot."""
        return self._slot is not None

    def release(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            self._shapes.clear()
            self._ring.give_back(slot)

    def capture(self, sizes: Sequence[int], absolute: float, relative: float) -> None:
        """Captures a graph for each of `sizes` rows on the slot that was last filled, to its last row.

        Each is replayed with other rows than it was captured with, and must give what a run that is no replay gives,
        within the tolerance. Raises `ExecutionFailed` where it does not, and whatever a capture raises.
        """
        slot = self._slot
        if slot is None:
            raise ExecutionFailed("expected a batch in a staging buffer to capture, there is none")
        for place, size in enumerate(sizes):
            graph = graph_number(slot.number, place)
            binding = self._bound(slot, size).binding
            with self._device_session.gate.capturing():
                self._copy_in(slot, size)
                self._device_session.run_bound(binding, graph)
                for array in slot.shape.inputs:
                    if self._spec.batched:
                        array[:] = np.roll(array, 1, axis=0)
                self._copy_in(slot, size)
                self._device_session.run_bound(binding, graph)
                replayed = self._copied_out(slot, size)
                self._device_session.run_bound(binding)
                plain = self._copied_out(slot, size)
            for tensor, one, other in zip(self._spec.outputs, replayed, plain, strict=True):
                if (distance := difference(one, other, absolute, relative)) is not None:
                    raise ExecutionFailed(
                        f"output {tensor.name!r} of {size} rows differs by {distance} where a graph is replayed"
                    )
            slot.graphs[size] = graph

    def _make_shape(self, first: InferRequest, key: object, longest: int) -> Shape | None:
        if not self.may_bind:
            return super()._make_shape(first, key, longest)
        inputs, outputs = self._layout(first, longest)
        try:
            with self._device_session.gate.running():
                slot = self._ring.take(inputs, outputs, self._spec.batched)
        except DeviceUnavailable:
            # Where memory is short the batch runs as it would without staging.
            return None
        if slot is None:
            return None
        self._slot = slot
        self._shapes[key] = slot.shape
        return slot.shape

    def _run_bound(self, shape: Shape, rows: int) -> list[Array]:
        slot = self._slot
        assert slot is not None
        assert slot.shape is shape
        size = captured_size(slot.graphs, rows)
        if size is not None and size > rows:
            for array in shape.inputs:
                array[rows:size] = array[0]
        bound = self._bound(slot, size or rows)
        with self._device_session.gate.running():
            self._copy_in(slot, size or rows)
            self._device_session.run_bound(bound.binding, NO_GRAPH if size is None else slot.graphs[size])
            self._copy_out(slot, rows)
        return bound.outputs if size in (None, rows) else self._outputs(slot, rows)

    def _bound(self, slot: Slot, rows: int) -> Bound:
        shape = slot.shape
        bound = shape.bound.get(rows)
        if bound is None:
            memory = self._ring.memory
            binding = self._device_session.io_binding()
            for tensor, array, buffer in zip(self._spec.inputs, shape.inputs, slot.inputs, strict=True):
                binding.bind_input(
                    tensor.name,
                    memory.kind,
                    memory.ordinal,
                    element_of(tensor),
                    self._sized(array, rows),
                    buffer.address,
                )
            assert shape.outputs is not None
            for tensor, array, buffer in zip(self._spec.outputs, shape.outputs, slot.outputs, strict=True):
                binding.bind_output(
                    tensor.name,
                    memory.kind,
                    memory.ordinal,
                    element_of(tensor),
                    self._sized(array, rows),
                    buffer.address,
                )
            make_place(shape.bound)
            bound = shape.bound[rows] = Bound(binding, self._outputs(slot, rows))
        return bound

    def _outputs(self, slot: Slot, rows: int) -> list[Array]:
        assert slot.shape.outputs is not None
        return [self._cut(output, rows) for output in slot.shape.outputs]

    def _copied_out(self, slot: Slot, rows: int) -> list[Array]:
        self._copy_out(slot, rows)
        return [output.copy() for output in self._outputs(slot, rows)]

    def _copy_in(self, slot: Slot, rows: int) -> None:
        try:
            for array, buffer in zip(slot.shape.inputs, slot.inputs, strict=True):
                if size_bytes := self._cut(array, rows).nbytes:
                    slot.stream.copy_in(buffer.address, array, size_bytes)
            slot.stream.wait()
        except ExecutionFailed:
            self._abandon(slot)
            raise

    def _copy_out(self, slot: Slot, rows: int) -> None:
        assert slot.shape.outputs is not None
        try:
            for array, buffer in zip(slot.shape.outputs, slot.outputs, strict=True):
                if size_bytes := self._cut(array, rows).nbytes:
                    slot.stream.copy_out(array, buffer.address, size_bytes)
            slot.stream.wait()
        except ExecutionFailed:
            self._abandon(slot)
            raise

    def _abandon(self, slot: Slot) -> None:
        """A copy failed, and others may be under way: nobody gets this slot again."""
        self._slot = None
        self._shapes.clear()
        self._ring.discard(slot)


@dataclass(frozen=True, slots=True)
class Staging:
    """What all runners of a version share where its batches are staged."""

    session: DeviceSession
    ring: Ring

    def runner(
        self,
        spec: ModelSpec,
        shared: bool = True,
        prepared: bool = False,
        ragged: Ragged | None = None,
    ) -> StagedRunner:
        """A runner of the version's; see `Runner`."""
        return StagedRunner(self.session, spec, self.ring, shared, prepared, ragged)
