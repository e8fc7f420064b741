"""A real server in a process of its own, and a repository of small models for it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

STOP_TIMEOUT_S = 30

TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}


@dataclass(frozen=True)
class Server:
    """Where it answers."""

    grpc_address: str
    http_address: str
    repository: Path
    data: Path


def model(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], weights: Any = ()) -> bytes:
    """A serialized ONNX model."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


def linear(weight: float) -> bytes:
    """Y[n, 3] = X[n, 4] @ W, every element of W being `weight`."""
    weights = helper.make_tensor("W", TensorProto.FLOAT, [4, 3], np.full(12, weight, np.float32))
    return model(
        [helper.make_node("MatMul", ["X", "W"], ["Y"])],
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["n", 3])],
        [weights],
    )


def identity(*names: str) -> bytes:
    """An input and an output of each datatype: out_<datatype> is in_<datatype>, of any two dimensions."""
    types = {name: TYPES[name] for name in names}
    return model(
        [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in types],
        [helper.make_tensor_value_info(f"in_{name}", type_, ["n", None]) for name, type_ in types.items()],
        [helper.make_tensor_value_info(f"out_{name}", type_, ["n", None]) for name, type_ in types.items()],
    )


def put(repository: Path, name: str, version: int, content: bytes) -> Path:
    """Writes a version and returns its directory."""
    directory = repository / name / str(version)
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(content)
    return directory


def onnx_file(path: Path, content: bytes) -> Path:
    """Writes an ONNX file and returns its path."""
    onnx.load_from_string(content)
    path.write_bytes(content)
    return path


def fill(repository: Path) -> None:
    """The models that the tests ask: linear (versions 1 and 2), identity of every datatype but BF16, bfloat, which
    is identity of that, and broken, which cannot be loaded."""
    put(repository, "linear", 1, linear(1))
    put(repository, "linear", 2, linear(2))
    (repository / "linear" / "model.toml").write_text("[serving]\nversions = { all = true }\n")
    put(repository, "identity", 1, identity(*(name for name in TYPES if name != "BF16")))
    put(repository, "bfloat", 1, identity("BF16"))
    put(repository, "broken", 1, b"no ONNX file")


@contextmanager
def serving(repository: Path, *flags: str) -> Iterator[Server]:
    """A server over `repository` on free ports, ready; stopped afterwards."""
    command = [sys.executable, "-m", "steelyard.cli.main", "serve", str(repository), "--json"]
    command += ["--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", *flags]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                errors.seek(0)
                raise AssertionError(f"the server did not start: {errors.read()}")
            said = json.loads(line)
            data = repository / ".steelyard"
            yield Server(said["grpc_address"], said["http_address"], repository, data)
        finally:
            process.terminate()
            assert process.wait(STOP_TIMEOUT_S) == 0


def filled_server(directory: Path, *flags: str) -> Iterator[Server]:
    """A server over the models of `fill`, for a fixture."""
    fill(directory)
    with serving(directory, *flags) as server:
        yield server
