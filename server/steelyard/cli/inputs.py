"""A model's inputs as people give them: .npy files, raw files and JSON, made into arrays of its datatypes."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from steelyard.client import Tensor, TensorMetadata
from steelyard.client.tensors import Array
from steelyard.models.bfloat16 import to_bfloat16
from steelyard.models.datatypes import BY_NAME

Given = Mapping[str, Array | Tensor]


class InputReader:
    """Reads inputs of one model; what is wrong with them raises click.UsageError."""

    def __init__(
        self,
        model: str,
        inputs: Sequence[TensorMetadata],
        shapes: Mapping[str, tuple[int, ...]],
        max_bytes: int,
    ) -> None:
        """
        inputs: as the model declares them.
        shapes: by input, what to give it in place of what the file or the metadata says.
        max_bytes: of a file; the server takes no larger message.
        """
        self._model = model
        self._inputs = {tensor.name: tensor for tensor in inputs}
        self._shapes = shapes
        self._max_bytes = max_bytes
        for name in shapes:
            self._declared(name)

    def from_option(self, name: str, text: str) -> Array | Tensor:
        """The input that "@FILE.npy", "@FILE" (raw bytes; for BYTES the whole file is one element), or JSON gives."""
        tensor = self._declared(name)
        if not text.startswith("@"):
            return self._from_values(tensor, parsed(text, f"input {name!r}"))
        path = Path(text[1:])
        if path.suffix == ".npy":
            return self._shaped(tensor, self._from_npy(name, path), default=None)
        return self._from_raw(tensor, self.read(path))

    def from_json(self, place: str) -> dict[str, Array | Tensor]:
        """The inputs in a JSON object of arrays by name; `place` is a file, or "-" for stdin."""
        if place == "-":
            raw = sys.stdin.buffer.read(self._max_bytes + 1)
            if len(raw) > self._max_bytes:
                raise click.UsageError(f"stdin: expected at most {self._max_bytes} bytes")
        else:
            raw = self.read(Path(place))
        return self.from_object(parsed(raw, place), place)

    def from_object(self, document: object, place: str) -> dict[str, Array | Tensor]:
        """The inputs in what JSON at `place` holds, an object of arrays by name."""
        if not isinstance(document, dict):
            raise click.UsageError(f"{place}: expected an object of inputs by name")
        return {name: self._from_values(self._declared(name), values) for name, values in document.items()}

    def _declared(self, name: str) -> TensorMetadata:
        tensor = self._inputs.get(name)
        if tensor is None:
            known = ", ".join(self._inputs) or "none"
            raise click.UsageError(f"model {self._model!r} has no input {name!r}; it has {known}")
        return tensor

    def read(self, path: Path) -> bytes:
        """The file, which may be as large as a message."""
        try:
            with path.open("rb") as stream:
                raw = stream.read(self._max_bytes + 1)
        except OSError as exc:
            raise click.UsageError(f"{path}: cannot be read: {exc.strerror}") from None
        if len(raw) > self._max_bytes:
            raise click.UsageError(f"{path}: expected at most {self._max_bytes} bytes")
        return raw

    def _from_npy(self, name: str, path: Path) -> Array:
        try:
            # Mapped, because a header that lies about the shape is then held against the file's size.
            array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        except OSError as exc:
            raise click.UsageError(f"{path}: cannot be read: {exc.strerror or exc}") from None
        except (ValueError, EOFError) as exc:
            raise click.UsageError(f"{path}: not an array that can be read: {exc}") from None
        if array.nbytes > self._max_bytes:
            raise click.UsageError(f"{path}: expected at most {self._max_bytes} bytes")
        return array

    def _from_raw(self, tensor: TensorMetadata, raw: bytes) -> Array | Tensor:
        datatype = BY_NAME[tensor.datatype]
        if tensor.datatype == "BYTES":
            array = _objects([raw])
        elif len(raw) % datatype.item_bytes:
            raise click.UsageError(
                f"input {tensor.name!r}: expected a multiple of {datatype.item_bytes} bytes for "
                f"{tensor.datatype}, came {len(raw)}"
            )
        else:
            array = np.frombuffer(raw, dtype=datatype.dtype)
        return self._shaped(tensor, array, default=tensor.shape)

    def _from_values(self, tensor: TensorMetadata, values: object) -> Array | Tensor:
        return self._shaped(tensor, array_of(tensor, values), default=None)

    def _shaped(
        self, tensor: TensorMetadata, array: Array, default: tuple[int, ...] | None
    ) -> Array | Tensor:
        """The array in the shape that was asked for, else in `default`, whose one open dimension is filled in."""
        shape = self._shapes.get(tensor.name, default)
        if shape is not None:
            unknown = [axis for axis, dim in enumerate(shape) if dim < 0]
            if len(unknown) > 1:
                raise click.UsageError(
                    f"input {tensor.name!r}: {list(shape)} leaves more than one dimension open: "
                    f"say which with --shape {tensor.name}=..."
                )
            known = math.prod(dim for dim in shape if dim >= 0)
            fits = array.size == known if not unknown else known > 0 and array.size % known == 0
            if not fits:
                raise click.UsageError(
                    f"input {tensor.name!r}: {array.size} elements do not fit the shape {list(shape)}"
                )
            if unknown:
                axis = unknown[0]
                shape = (*shape[:axis], array.size // known, *shape[axis + 1 :])
            array = array.reshape(shape)
        return Tensor(array, "BF16") if tensor.datatype == "BF16" and array.dtype == np.uint16 else array


def array_of(tensor: TensorMetadata, values: object) -> Array:
    """JSON's values as an array of the input's datatype; whole numbers are neither cut nor wrapped to fit."""
    if tensor.datatype == "BYTES":
        return _strings(tensor.name, values)
    try:
        natural = np.array(values)
    except (ValueError, OverflowError):
        raise click.UsageError(f"input {tensor.name!r}: expected arrays of equal lengths") from None
    dtype = BY_NAME[tensor.datatype].dtype
    takes = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}["f" if tensor.datatype == "BF16" else dtype.kind]
    if natural.size and natural.dtype.kind not in takes:
        raise click.UsageError(f"input {tensor.name!r}: expected values of {tensor.datatype}, came others")
    if tensor.datatype == "BF16":
        return to_bfloat16(natural)
    if dtype.kind in "iu" and natural.size:
        limits = np.iinfo(dtype)
        low, high = int(natural.min()), int(natural.max())
        if low < limits.min or high > limits.max:
            worst = low if low < limits.min else high
            raise click.UsageError(
                f"input {tensor.name!r}: expected values of {tensor.datatype} from {limits.min} to "
                f"{limits.max}, came {worst}"
            )
    return natural.astype(dtype)


def _strings(name: str, values: object) -> Array:
    shape: list[int] = []
    flat: list[object] = [values]
    # One axis after the other, because numpy would take text of one length for an array of characters.
    while any(isinstance(item, list) for item in flat):
        lengths = {len(item) if isinstance(item, list) else -1 for item in flat}
        if len(lengths) != 1:
            raise click.UsageError(f"input {name!r}: expected arrays of equal lengths")
        shape.append(lengths.pop())
        flat = [element for item in flat if isinstance(item, list) for element in item]
    if any(not isinstance(item, str) for item in flat):
        raise click.UsageError(f"input {name!r}: expected strings")
    return _objects(flat).reshape(shape)


def _objects(items: Sequence[object]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def parsed(text: str | bytes, place: str) -> object:
    """What JSON at `place` holds."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise click.UsageError(f"{place}: not JSON: {exc}") from None
