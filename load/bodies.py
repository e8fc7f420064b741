"""The bytes of requests: made before the load, so that sending costs nothing but sending."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from load.scenario import MAX_CHOICES, Request, Values
from steelyard.client.answers import ModelMetadata, TensorMetadata
from steelyard.client.requests import encode_infer
from steelyard.client.tensors import Tensor
from steelyard.errors import ConfigError
from steelyard.models.bfloat16 import to_bfloat16
from steelyard.models.datatypes import BY_NAME

# Every process that sends holds all of them.
MAX_BODIES_BYTES = 512 << 20
# A request that is longer is refused by any server that is set up as usual.
MAX_BODY_BYTES = 64 << 20
# Each length that a replayed file has is a body of its own.
MAX_REPLAYED_LENGTHS = 4096
# What numbers are where the scenario does not say; an embedding of any size has these rows.
INTEGERS = (0, 2)
TEXT_BYTES = 16

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Bodies:
    """All bodies of a load, and where those of a kind are."""

    content: list[bytes] = field(default_factory=list)
    bad: list[bool] = field(default_factory=list)
    """By body: whether a server should refuse it."""
    good_of: list[list[int]] = field(default_factory=list)
    """By kind of request, the places of its good bodies."""
    bad_of: list[list[int]] = field(default_factory=list)
    by_length: list[dict[int, int]] = field(default_factory=list)
    """By kind of request, bodies of lengths that a replayed file has."""
    size: int = 0

    def add(self, body: bytes, bad: bool) -> int:
        """The place of a further body. Raises ConfigError where there are too many."""
        self.size += len(body)
        if self.size > MAX_BODIES_BYTES:
            raise ConfigError(
                f"requests: expected bodies of at most {MAX_BODIES_BYTES} bytes in all, got more"
            )
        self.content.append(body)
        self.bad.append(bad)
        return len(self.content) - 1


class Maker:
    """Makes the bodies of one kind of request."""

    def __init__(self, request: Request, inputs: tuple[TensorMetadata, ...], random: np.random.Generator):
        """inputs: as the model declares them; not asked where the scenario names a file."""
        self._request = request
        self._inputs = inputs
        self._random = random
        self._fixed = None if request.body is None else _read(request.body, MAX_BODY_BYTES)
        self._lengths = _lengths(request)
        declared = {tensor.name for tensor in inputs}
        unknown = next((name for name in request.inputs if name not in declared), None)
        if unknown is not None and self._fixed is None:
            raise ConfigError(
                f"request {request.name!r}: model {request.model!r} has no input {unknown!r}; "
                f"it has {', '.join(sorted(declared)) or 'none'}"
            )

    def good(self, length: int | None = None) -> bytes:
        """A body that the model takes; `length` in place of what would be drawn."""
        if self._fixed is not None:
            return self._fixed
        return self._encoded(self._request.model, self._drawn(length))

    def bad(self, kind: str) -> bytes:
        """A body with what `kind` says wrong about it."""
        if kind == "unparsable":
            return b"\xff" * 16
        tensors = self._drawn(None) if self._fixed is None else {"x": np.zeros(1, np.float32)}
        model = self._request.model
        if kind == "unknown_model":
            return self._encoded(f"{model}.that-is-not-there", tensors)
        if kind == "unknown_input":
            return self._encoded(
                model, {f"{name}.that-is-not-there": value for name, value in tensors.items()}
            )
        if kind == "wrong_shape":
            return self._encoded(model, {name: _deeper(value) for name, value in tensors.items()})
        return self._encoded(model, {name: _other(value) for name, value in tensors.items()})

    def _encoded(self, model: str, tensors: Mapping[str, Array | Tensor]) -> bytes:
        request = self._request
        return encode_infer(model, tensors, request.version, None, "", request.priority, None, None)

    def _drawn(self, length: int | None) -> dict[str, Array | Tensor]:
        rows = int(self._random.choice(self._request.rows))
        if length is None and self._lengths is not None:
            length = int(self._random.choice(self._lengths))
        return {tensor.name: self._filled(tensor, rows, length) for tensor in self._inputs}

    def _filled(self, tensor: TensorMetadata, rows: int, length: int | None) -> Array | Tensor:
        shape = self._shape(tensor, rows, length)
        values = self._request.inputs.get(tensor.name, Values())
        random = self._random
        if values.file is not None:
            return self._from_file(tensor, values.file, shape)
        if tensor.datatype == "BYTES":
            sizes = random.choice(values.bytes or (TEXT_BYTES,), int(np.prod(shape)))
            letters = [random.integers(97, 123, int(size), np.uint8).tobytes() for size in sizes]
            return np.array(letters, dtype=object).reshape(shape)
        dtype = BY_NAME[tensor.datatype].dtype
        if tensor.datatype == "BOOL":
            return random.integers(0, 2, shape).astype(dtype)
        if dtype.kind in "iu" and tensor.datatype != "BF16":
            low, high = INTEGERS if values.low is None else (values.low, values.high)
            return random.integers(int(low), int(high or 0), shape).astype(dtype)
        if values.low is None or values.high is None:
            numbers = random.standard_normal(shape)
        else:
            numbers = random.uniform(values.low, values.high, shape)
        if tensor.datatype == "BF16":
            return Tensor(to_bfloat16(numbers.astype(np.float32)), "BF16")
        return numbers.astype(dtype)

    def _shape(self, tensor: TensorMetadata, rows: int, length: int | None) -> tuple[int, ...]:
        wanted = []
        for axis, size in enumerate(tensor.shape):
            if size >= 0:
                wanted.append(size)
            elif axis == 0:
                wanted.append(rows)
            elif length is not None:
                wanted.append(length)
            else:
                raise ConfigError(
                    f"request {self._request.name!r}: input {tensor.name!r} of model {self._request.model!r} has the "
                    f"shape {list(tensor.shape)}: expected lengths for what is open behind the first axis"
                )
        return tuple(wanted)

    def _from_file(self, tensor: TensorMetadata, path: Path, shape: tuple[int, ...]) -> Array | Tensor:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: expected a .npy file: {error}") from None
        dtype = BY_NAME[tensor.datatype].dtype
        wanted = array.dtype.kind in "SU" if tensor.datatype == "BYTES" else array.dtype == dtype
        if not wanted or array.ndim != len(shape) or not len(array):
            raise ConfigError(
                f"{path}: expected {tensor.datatype} with {len(shape)} axes for input {tensor.name!r}, "
                f"got {array.dtype} of shape {list(array.shape)}"
            )
        chosen = np.ascontiguousarray(array[np.sort(self._random.integers(0, len(array), shape[0]))])
        return Tensor(chosen, "BF16") if tensor.datatype == "BF16" else chosen


def make_bodies(
    requests: tuple[Request, ...],
    models: Mapping[tuple[str, str], ModelMetadata],
    random: np.random.Generator,
    replayed: Mapping[int, set[int]],
) -> Bodies:
    """The bodies of all kinds of requests.

    models: by name and version, those that `needs_metadata` names. replayed: by kind, the lengths that a file has.
    Raises ConfigError.
    """
    made = Bodies()
    for place, request in enumerate(requests):
        described = models.get((request.model, request.version))
        maker = Maker(request, described.inputs if described else (), random)
        count = 1 if request.body is not None else request.bodies
        made.good_of.append([made.add(maker.good(), False) for _ in range(count)])
        made.bad_of.append([made.add(maker.bad(kind), True) for kind in request.bad if request.bad_share])
        lengths = replayed.get(place, set())
        if len(lengths) > MAX_REPLAYED_LENGTHS:
            raise ConfigError(
                f"request {request.name!r}: expected a file of at most {MAX_REPLAYED_LENGTHS} different lengths, "
                f"got {len(lengths)}"
            )
        made.by_length.append({length: made.add(maker.good(length), False) for length in sorted(lengths)})
    return made


def needs_metadata(requests: tuple[Request, ...]) -> set[tuple[str, str]]:
    """Models and versions whose inputs have to be known."""
    return {(request.model, request.version) for request in requests if request.body is None}


def _lengths(request: Request) -> tuple[int, ...] | None:
    if request.lengths_file is None:
        return request.lengths
    path = request.lengths_file
    lines = _read(path, MAX_BODY_BYTES).decode("utf-8", "replace").split()
    if not lines or len(lines) > MAX_CHOICES or not all(line.isascii() and line.isdigit() for line in lines):
        raise ConfigError(f"{path}: expected 1 to {MAX_CHOICES} whole numbers, one a line")
    if min(map(int, lines)) < 1:
        raise ConfigError(f"{path}: expected lengths of at least 1, got 0")
    return tuple(map(int, lines))


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > max_bytes:
        raise ConfigError(f"{path}: expected at most {max_bytes} bytes, got more")
    return content


def _deeper(value: Array | Tensor) -> Array | Tensor:
    """The same values with an axis too many."""
    if isinstance(value, Tensor):
        return Tensor(value.array[..., None, None], value.datatype)
    return value[..., None, None]


def _other(value: Array | Tensor) -> Array:
    """The same shape in a datatype that is another."""
    array = value.array if isinstance(value, Tensor) else value
    return np.zeros(array.shape, np.float64 if array.dtype != np.float64 else np.int8)
