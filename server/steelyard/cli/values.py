"""Outputs as JSON, as text for people, and as a .npz file."""

import base64
import zipfile
from pathlib import Path

import numpy as np

from steelyard.client.tensors import Array
from steelyard.errors import ConfigError
from steelyard.models.bfloat16 import from_bfloat16


def json_values(array: Array, datatype: str) -> object:
    """The elements as nested lists that strict JSON can write.

    NaN and the infinities are the strings "NaN", "Infinity" and "-Infinity"; bytes are text where they are
    UTF-8, else {"base64": ...}.
    """
    return _plain(readable(array, datatype).tolist())


def readable(array: Array, datatype: str) -> Array:
    """The array with the bits of BF16 as numbers."""
    if datatype == "BF16":
        return from_bfloat16(array)
    return array


def save_npz(path: Path, outputs: dict[str, Array]) -> None:
    """Writes the outputs by name; strings become numpy's byte strings, BF16 stays bits. Raises ConfigError.

    numpy's own savez cannot hold an output called "file", and would pickle strings.
    """
    ready = {}
    for name, array in outputs.items():
        if array.dtype == object:
            if any(element.endswith(b"\0") for element in array.flat):
                raise ConfigError(
                    f"--output {path}: numpy would drop the zero byte at the end of a string in {name!r}"
                )
            array = array.astype(bytes)
        ready[name] = array
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in ready.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)
    except OSError as exc:
        raise ConfigError(f"--output {path}: cannot be written: {exc.strerror or exc}") from None


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, float):
        if value != value:
            return "NaN"
        if value in (float("inf"), float("-inf")):
            return "Infinity" if value > 0 else "-Infinity"
    return value
