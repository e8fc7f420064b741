"""One of a version's instances: its input buffers, its bindings, and the way from requests to output arrays."""

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from steelyard._native.batch import gather
from steelyard.errors import ExecutionFailed, InvalidRequest
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.runtime.ragged import Ragged, fill_ragged
from steelyard.wire import decode_bytes_tensor
from steelyard.wire.refusals import shown
from steelyard.wire.types import InferRequest, InputTensor

Array = npt.NDArray[Any]
Layout = list[tuple[tuple[int, ...], np.dtype[Any]]]

# A version with dynamic inner dimensions can meet any number of shapes; buffers are kept for this many of them and the
# oldest goes first. The shapes of real traffic are few or endless, and for the endless ones nothing helps.
SHAPES_KEPT = 8

# Numbers of rows for which bindings are kept, by shape: more than a usual batch has. At 2 KB each, half a megabyte.
ROWS_KEPT = 256

# All that one runner keeps, over its shapes. Buffers that are larger alone are made for their batch and dropped with
# it, so that one giant request does not stay in memory for good.
KEPT_BYTES = 64 << 20


class Bound(NamedTuple):
    """So many rows of a shape's buffers, bound to the model's inputs and outputs."""

    binding: Any
    outputs: list[Array]


@dataclass(slots=True)
class Shape:
    """Buffers for one choice of the dynamic dimensions, each with room for `capacity` rows.

    What is made of so many rows of them is kept by their number.
    """

    capacity: int
    held_bytes: int
    inputs: list[Array]
    outputs: list[Array] | None
    row_bytes: list[int]
    """Of each input; of an input without a batch axis, all of it."""
    filled: dict[int, list[Array]]
    bound: dict[int, Bound]


def row_dims(tensor: TensorSpec, dims: Sequence[int], batched: bool) -> tuple[int, ...]:
    """A request's dimensions of one tensor without the batch axis."""
    return tuple(dims[1:]) if batched else tuple(dims)


def is_static(tensor: TensorSpec, batched: bool) -> bool:
    """Whether every dimension of one row is known before it comes."""
    return all(dim >= 0 for dim in (tensor.dims[1:] if batched else tensor.dims))


class Runner:
    """Runs batches of one version, one at a time; not to be shared between threads.

    Inputs are copied once, from the requests' bytes into a buffer that ONNX Runtime reads in place. Where the shapes
    of all outputs are known beforehand, it writes them into buffers that are used again and again, and a batch size
    that was met before runs on a binding made then: nothing is allocated. Everything else (strings, output shapes
    that depend on values) goes through plain runs.

    Where it is not `shared`, each run holds one request, whose outputs may have any number of rows. Where requests are
    `prepared`, each writes its own rows into the batch. Where they are `ragged`, those of different length are padded.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        spec: ModelSpec,
        capacity: int,
        shared: bool = True,
        prepared: bool = False,
        ragged: Ragged | None = None,
    ) -> None:
        self._session = session
        self._spec = spec
        self._capacity = capacity
        self._shared = shared
        self._prepared = prepared
        self._ragged = ragged
        self._output_names = [tensor.name for tensor in spec.outputs]
        self._has_strings = any(t.datatype == "BYTES" for t in (*spec.inputs, *spec.outputs))
        self._needs_binding = any(t.datatype == "BF16" for t in (*spec.inputs, *spec.outputs))
        self.may_bind = not self._has_strings and all(is_static(t, spec.batched) for t in spec.outputs)
        self.filled_ns = [0] * len(spec.inputs)
        """What the last `fill` of prepared requests took for each input."""
        self._shapes: dict[object, Shape] = {}
        self._kept_bytes = 0

    def fill(
        self, requests: Sequence[InferRequest], rows: int, key: Any, longest: int = 0
    ) -> tuple[Shape | None, list[Array]]:
        """Assembles the inputs of `requests`, which share `key` (their dynamic dimensions) and hold `rows` rows.

        longest: where their lengths differ, the one that all are padded to; `key` is then the first one's.
        Returns the buffers that were used, where they are the kept ones, and the inputs as arrays of `rows` rows.
        """
        spec = self._spec
        first = requests[0]
        shape = None
        if not self._has_strings and 0 < rows <= self._capacity:
            shape_key: object = key
            if longest:
                assert self._ragged is not None
                shape_key = ("ragged", longest, self._ragged.rest(key))
            shape = self._shapes.get(shape_key) or self._make_shape(first, shape_key, longest)
            if shape is not None and not self._prepared and not longest:
                for index, row_bytes in enumerate(shape.row_bytes):
                    gather(shape.inputs[index], requests, index, rows * row_bytes)
                filled = shape.filled.get(rows)
                if filled is None:
                    make_place(shape.filled)
                    filled = shape.filled[rows] = [self._cut(target, rows) for target in shape.inputs]
                return shape, filled
        arrays: list[Array] = []
        for index, tensor in enumerate(spec.inputs):
            dims = self._dims(tensor, index, first, longest)
            full = (rows, *dims) if spec.batched else dims
            if tensor.datatype == "BYTES":
                arrays.append(_strings(requests, index, full))
                continue
            dtype = tensor.element.dtype
            target = np.empty(full, dtype) if shape is None else shape.inputs[index]
            if longest:
                assert self._ragged is not None
                began_ns = time.monotonic_ns()
                fill_ragged(self._ragged, index, dtype, target, requests, self._prepared)
                self.filled_ns[index] = time.monotonic_ns() - began_ns
            elif self._prepared:
                began_ns = time.monotonic_ns()
                _fill(target, requests, index)
                self.filled_ns[index] = time.monotonic_ns() - began_ns
            else:
                gather(target, requests, index, prod(full) * dtype.itemsize)
            arrays.append(target if shape is None else self._cut(target, rows))
        return shape, arrays

    def release(self) -> None:
        """Lets go of what other runners could use meanwhile; the last outputs may be gone then. Nothing here."""

    def run(self, shape: Shape | None, arrays: list[Array], rows: int) -> list[Array]:
        """Runs the assembled inputs; gives one array an output, valid until the next run. Without `shape`, plainly.

        Raises what ONNX Runtime raises, and `ExecutionFailed` where an output of a batched version that is shared does
        not have `rows` rows.
        """
        if shape is not None and shape.outputs is not None and self.may_bind:
            return self._run_bound(shape, rows)
        outputs = self._run_bound_once(arrays) if self._needs_binding else self._run_plain(arrays)
        if self._spec.batched and self._shared:
            for tensor, output in zip(self._spec.outputs, outputs, strict=True):
                if output.ndim == 0 or output.shape[0] != rows:
                    raise ExecutionFailed(
                        f"output {tensor.name!r} has shape {list(output.shape)} for a batch of {rows} rows"
                    )
        return outputs

    def _run_plain(self, arrays: list[Array]) -> list[Array]:
        feed = {tensor.name: array for tensor, array in zip(self._spec.inputs, arrays, strict=True)}
        # Not `ascontiguousarray`, which makes a scalar a vector.
        return [np.asarray(output, order="C") for output in self._session.run(self._output_names, feed)]

    def _run_bound(self, shape: Shape, rows: int) -> list[Array]:
        bound = shape.bound.get(rows)
        if bound is None:
            assert shape.outputs is not None
            binding = self._bind(shape.inputs, rows)
            for tensor, array in zip(self._spec.outputs, shape.outputs, strict=True):
                binding.bind_output(
                    tensor.name, "cpu", 0, element_of(tensor), self._sized(array, rows), array.ctypes.data
                )
            outputs = [self._cut(output, rows) for output in shape.outputs]
            make_place(shape.bound)
            bound = shape.bound[rows] = Bound(binding, outputs)
        self._session.run_with_iobinding(bound.binding)
        return bound.outputs

    def _run_bound_once(self, arrays: list[Array]) -> list[Array]:
        """A run whose tensors NumPy has no type for: ONNX Runtime allocates the outputs, which are copied."""
        binding = self._bind(arrays, arrays[0].shape[0] if arrays and arrays[0].ndim else 0)
        for tensor in self._spec.outputs:
            binding.bind_output(tensor.name, "cpu")
        self._session.run_with_iobinding(binding)
        outputs = []
        for tensor, value in zip(self._spec.outputs, binding.get_outputs(), strict=True):
            dtype = tensor.element.dtype
            dims = value.shape()
            size = prod(dims) * dtype.itemsize
            held = ctypes.string_at(value.data_ptr(), size) if size else b""
            outputs.append(np.frombuffer(held, dtype).reshape(dims))
        return outputs

    def _bind(self, arrays: list[Array], rows: int) -> Any:
        binding = self._session.io_binding()
        for tensor, array in zip(self._spec.inputs, arrays, strict=True):
            binding.bind_input(
                tensor.name, "cpu", 0, element_of(tensor), self._sized(array, rows), array.ctypes.data
            )
        return binding

    def _cut(self, array: Array, rows: int) -> Array:
        return array[:rows] if self._spec.batched else array

    def _sized(self, array: Array, rows: int) -> tuple[int, ...]:
        return (rows, *array.shape[1:]) if self._spec.batched else array.shape

    def _dims(self, tensor: TensorSpec, index: int, first: InferRequest, longest: int) -> tuple[int, ...]:
        """The dimensions of one row of an input in a batch of requests like `first`."""
        shape = first.inputs[index].shape
        if longest and self._ragged is not None:
            return self._ragged.dims(index, shape, longest)
        return row_dims(tensor, shape, self._spec.batched)

    def _make_shape(self, first: InferRequest, key: object, longest: int) -> Shape | None:
        """Buffers for the dynamic dimensions of `first`, or None where they would be too large to keep."""
        spec = self._spec
        sized, produced = self._layout(first, longest)
        held_bytes = sum(prod(dims) * dtype.itemsize for dims, dtype in (*sized, *produced))
        if held_bytes > KEPT_BYTES:
            return None
        while self._shapes and (
            len(self._shapes) >= SHAPES_KEPT or self._kept_bytes + held_bytes > KEPT_BYTES
        ):
            self._kept_bytes -= self._shapes.pop(next(iter(self._shapes))).held_bytes
        self._kept_bytes += held_bytes
        shape = Shape(
            capacity=self._capacity,
            held_bytes=held_bytes,
            inputs=[np.empty(dims, dtype) for dims, dtype in sized],
            outputs=[np.empty(dims, dtype) for dims, dtype in produced] if self.may_bind else None,
            row_bytes=[prod(dims[1:] if spec.batched else dims) * dtype.itemsize for dims, dtype in sized],
            filled={},
            bound={},
        )
        self._shapes[key] = shape
        return shape

    def _layout(self, first: InferRequest, longest: int) -> tuple[Layout, Layout]:
        """Dimensions and element types of the buffers for requests like `first`: inputs, and outputs to be bound."""
        spec = self._spec
        sized = []
        for index, tensor in enumerate(spec.inputs):
            dims = self._dims(tensor, index, first, longest)
            sized.append(((self._capacity, *dims) if spec.batched else dims, tensor.element.dtype))
        produced = []
        if self.may_bind:
            for tensor in spec.outputs:
                dims = tensor.dims[1:] if spec.batched else tensor.dims
                produced.append(((self._capacity, *dims) if spec.batched else dims, tensor.element.dtype))
        return sized, produced


def make_place(kept: dict[int, Any]) -> None:
    if len(kept) >= ROWS_KEPT:
        kept.clear()


def _fill(target: Array, requests: Sequence[Any], index: int) -> None:
    start = 0
    for request in requests:
        tensor = request.inputs[index]
        rows = tensor.shape[0]
        tensor.fill(target[start : start + rows])
        start += rows


def element_of(tensor: TensorSpec) -> Any:
    # NumPy has no bfloat16: ONNX Runtime is told its number instead.
    return tensor.element.element_type if tensor.datatype == "BF16" else tensor.element.dtype


def _strings(requests: Sequence[InferRequest], index: int, shape: tuple[int, ...]) -> Array:
    """BYTES tensors as the array of `str` that ONNX Runtime takes; raises `InvalidRequest` for what is no UTF-8."""
    values = [text for request in requests for text in _texts(request.inputs[index])]
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def _texts(tensor: InputTensor) -> list[str]:
    texts = []
    for position, element in enumerate(decode_bytes_tensor(tensor.data)):
        try:
            texts.append(element.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"input {shown(tensor.name)}: expected UTF-8 in BYTES element {position}, as ONNX's strings are, "
                f"came byte 0x{element[error.start]:02x} at {error.start}"
            ) from None
    return texts
