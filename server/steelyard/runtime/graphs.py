"""CUDA graphs: which sizes are captured, by which numbers ONNX Runtime keeps them, and what must stand still meanwhile.

What its CUDA provider asks of whoever uses them, since it checks none of it: one thread for all runs of the session,
since each thread has graphs of its own; for each number always the same shapes at the same addresses; nothing on the
host's side, so tensors are on the device before a run; and -1 as the number of every run that is no replay.
"""

import contextlib
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping

from steelyard.models.spec import ModelSpec
from steelyard.runtime.runner import is_static

# The key in the options of a run, and the number that means none.
GRAPH_ID = "gpu_graph_id"
NO_GRAPH = -1

# Each captured size has a graph, and so memory of the device, on every slot. One for each power of two: a batch runs at
# most at twice its size, and of 65,536 rows there are 17.
MAX_SIZES = 17


def sizes_to_capture(max_batch: int) -> list[int]:
    """1, 2, 4, … and `max_batch` itself: batches in between run as the next larger one, with rows repeated."""
    sizes = [1 << power for power in range(MAX_SIZES - 1) if 1 << power < max_batch]
    return [*sizes, max_batch]


def graph_number(slot: int, size_place: int) -> int:
    """The number of the graph for a slot and the place of its size among those captured, above zero."""
    return slot * MAX_SIZES + size_place + 1


def captured_size(graphs: Mapping[int, int], rows: int) -> int | None:
    """The least captured size that holds `rows` rows; None where none does. graphs: in ascending order of size."""
    if not graphs:
        return None
    sizes = list(graphs)
    place = bisect_left(sizes, rows)
    return sizes[place] if place < len(sizes) else None


def why_no_graphs(spec: ModelSpec, device: str) -> str:
    """What speaks against graphs before anything is tried; empty where nothing does.

    What only ONNX Runtime knows (nodes without a CUDA kernel, control flow) it says when the session is opened.
    """
    if not device.startswith("cuda:"):
        return f"the model runs on {device}, and only CUDA's own provider captures graphs"
    for tensor in (*spec.inputs, *spec.outputs):
        if tensor.datatype == "BYTES":
            return f"{tensor.name!r} is BYTES, which no device holds"
        if not is_static(tensor, spec.batched):
            return f"{tensor.name!r} is {list(tensor.dims)}: dimensions beside the rows are open"
    return ""


class Gate:
    """Lets runs pass beside each other, and a capture only alone.

    CUDA captures for the whole process: whatever another thread asks of a device meanwhile may fail or spoil the
    capture. One who captures waits for the runs under way, and runs that come wait for it, milliseconds at load.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._runs = 0
        self._captures = 0
        self._capturing = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Held during a run, and not twice by one thread."""
        with self._changed:
            self._changed.wait_for(lambda: not self._captures)
            self._runs += 1
        try:
            yield
        finally:
            with self._changed:
                self._runs -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def capturing(self) -> Iterator[None]:
        """Held during a capture."""
        with self._changed:
            self._captures += 1
            self._changed.wait_for(lambda: not self._runs and not self._capturing)
            self._capturing = True
        try:
            yield
        finally:
            with self._changed:
                self._captures -= 1
                self._capturing = False
                self._changed.notify_all()


GATE = Gate()
"""Of this process."""
