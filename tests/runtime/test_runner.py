"""The runner: every datatype, bound and plain, gives what it was given; and the native gather against its twin."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from steelyard._native import batch as native
from steelyard.models.graph import describe
from steelyard.models.version_manifest import VersionManifest
from steelyard.runtime import assembly
from steelyard.runtime.devices import resolve
from steelyard.runtime.runner import Runner
from steelyard.runtime.session import open_session
from steelyard.wire import encode_bytes_tensor
from tests.runtime import models

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


def runner_of(file: Path, capacity: int, *, bind: bool) -> Runner:
    session = open_session(file, resolve("cpu", ["CPUExecutionProvider"], []))
    spec = describe(session.get_inputs(), session.get_outputs(), VersionManifest(), file.parent)
    runner = Runner(session, spec, capacity)
    runner.may_bind = runner.may_bind and bind
    return runner


def request(data: bytes, shape: tuple[int, ...]) -> SimpleNamespace:
    return SimpleNamespace(inputs=[SimpleNamespace(data=memoryview(data), shape=shape)])


@pytest.mark.parametrize("bind", [True, False])
@pytest.mark.parametrize("datatype", list(TYPES))
def test_every_datatype_in_batches_of_every_size(tmp_path: Path, datatype: str, bind: bool) -> None:
    runner = runner_of(models.identity(tmp_path, TYPES[datatype], ["n", 3]), 4, bind=bind)
    rng = np.random.default_rng(3)
    for sizes in ([1], [2, 1], [1, 1, 1, 1], [3, 4], [1]):
        rows = sum(sizes)
        if datatype == "BYTES":
            values = [[f"é\0{rng.integers(1000)}" for _ in range(size * 3)] for size in sizes]
            parts = [encode_bytes_tensor(part) for part in values]
            expected: object = [value for part in values for value in part]
        else:
            parts = [
                rng.integers(0, 2, size * 3 * _width(datatype)).astype(np.uint8).tobytes() for size in sizes
            ]
            expected = b"".join(parts)
        requests = [request(part, (size, 3)) for part, size in zip(parts, sizes, strict=True)]
        shape, arrays = runner.fill(requests, rows, ())
        (output,) = runner.run(shape, arrays, rows)
        assert output.shape == (rows, 3)
        assert (output.ravel().tolist() if datatype == "BYTES" else output.tobytes()) == expected


def _width(datatype: str) -> int:
    return {"BOOL": 1, "UINT8": 1, "INT8": 1, "FP32": 4, "UINT32": 4, "INT32": 4}.get(
        datatype, 2 if datatype.endswith("16") else 8
    )


def test_dynamic_inner_dimensions_and_more_shapes_than_are_kept(tmp_path: Path) -> None:
    runner = runner_of(models.identity(tmp_path, TensorProto.FLOAT, ["n", "t"]), 4, bind=True)
    for _ in range(2):
        for width in range(1, 20):
            data = np.arange(2 * width, dtype=np.float32)
            shape, arrays = runner.fill([request(data.tobytes(), (2, width))], 2, (width,))
            (output,) = runner.run(shape, arrays, 2)
            assert output.shape == (2, width)
            assert np.array_equal(output.ravel(), data)


def test_no_rows_at_all(tmp_path: Path) -> None:
    runner = runner_of(models.identity(tmp_path, TensorProto.FLOAT, ["n", 3]), 4, bind=True)
    shape, arrays = runner.fill([request(b"", (0, 3))], 0, ())
    assert runner.run(shape, arrays, 0)[0].shape == (0, 3)


@pytest.mark.parametrize("dims", [[], [2, 2], [0, 3]])
def test_models_without_a_batch_axis(tmp_path: Path, dims: list[int]) -> None:
    runner = runner_of(models.identity(tmp_path, TensorProto.FLOAT, dims), 1, bind=True)
    data = np.arange(int(np.prod(dims)), dtype=np.float32).reshape(dims)
    shape, arrays = runner.fill([request(data.tobytes(), tuple(dims))], 1, ())
    (output,) = runner.run(shape, arrays, 1)
    assert output.shape == tuple(dims)
    assert np.array_equal(output, data)


@given(
    parts=st.lists(st.binary(max_size=40), max_size=6),
    room=st.integers(0, 200),
    expected_change=st.integers(-3, 3),
)
def test_gather_is_what_its_twin_is(parts: list[bytes], room: int, expected_change: int) -> None:
    requests = [SimpleNamespace(inputs=[SimpleNamespace(data=memoryview(part))]) for part in parts]
    expected = max(0, sum(map(len, parts)) + expected_change)
    results = []
    for gather in (native.gather, assembly.gather):
        target = np.full(room, 7, np.uint8)
        try:
            gather(target, requests, 0, expected)
            results.append(target.tobytes())
        except ValueError as error:
            results.append(str(error).encode())
    assert results[0] == results[1]


def test_a_large_copy_without_the_interpreter_lock() -> None:
    part = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
    target = np.zeros(2 << 20, np.uint8)
    native.gather(target, [request(part.tobytes(), ())] * 2, 0, 2 << 20)
    assert np.array_equal(target, np.concatenate([part, part]))
