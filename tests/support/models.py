"""Small ONNX models, each made to show one behaviour, and repositories of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dim = int | str | None

ELEMENT = {
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


def value(name: str, datatype: str, dims: Sequence[Dim] | None) -> onnx.ValueInfoProto:
    """A tensor as a graph declares it; `dims` None declares no shape."""
    return helper.make_tensor_value_info(name, ELEMENT[datatype], dims)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray] | None = None,
) -> bytes:
    """A serialized model of these nodes. It is not checked, since some are meant to be wrong."""
    initializers = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    serialized: bytes = made.SerializeToString()
    return serialized


def identity(datatype: str = "FP32", dims: Sequence[Dim] = ("batch", 4)) -> bytes:
    """y = x."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [value("x", datatype, dims)], [value("y", datatype, dims)])


def scaled(factor: float = 2.0, dims: Sequence[Dim] = ("batch", 4)) -> bytes:
    """y = factor * x, in FP32."""
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    return model(
        [node],
        [value("x", "FP32", dims)],
        [value("y", "FP32", dims)],
        {"factor": np.float32(factor).reshape(())},
    )


def widened(width: int = 50_000) -> bytes:
    """y is x, repeated `width` times: answers much larger than their requests."""
    return model(
        [helper.make_node("Expand", ["x", "shape"], ["y"])],
        [value("x", "FP32", ("batch", 1))],
        [value("y", "FP32", ("batch", width))],
        {"shape": np.array([1, width], np.int64)},
    )


def two_inputs() -> bytes:
    """sum = a + b and difference = a - b; FP32 [batch, 3]."""
    dims = ("batch", 3)
    return model(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        [value("a", "FP32", dims), value("b", "FP32", dims)],
        [value("sum", "FP32", dims), value("difference", "FP32", dims)],
    )


def two_columns() -> bytes:
    """sum = a + b; FP32 [batch, 1]."""
    dims = ("batch", 1)
    return model(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [value("a", "FP32", dims), value("b", "FP32", dims)],
        [value("sum", "FP32", dims)],
    )


def embedding(rows: int = 16, width: int = 4) -> bytes:
    """vectors = the rows of a table at INT64 ids [batch, length]; an id out of range makes the run fail.

    Row i of the table holds i everywhere.
    """
    table = np.repeat(np.arange(rows, dtype=np.float32)[:, None], width, axis=1)
    return model(
        [helper.make_node("Gather", ["table", "ids"], ["vectors"])],
        [value("ids", "INT64", ("batch", "length"))],
        [value("vectors", "FP32", ("batch", "length", width))],
        {"table": table},
    )


def slow_embedding(loops: int = 60, size: int = 256) -> bytes:
    """As `embedding` with ids [batch, 1], and slow: a run also does `loops` products of matrices, whatever its rows."""
    table = np.repeat(np.arange(16, dtype=np.float32)[:, None], 4, axis=1)
    nodes = [helper.make_node("Gather", ["table", "ids"], ["found"])]
    nodes += [helper.make_node("ReduceMax", ["found"], ["seed"], keepdims=0)]
    nodes += [helper.make_node("Add", ["square", "seed"], ["m0"])]
    for i in range(loops):
        nodes.append(helper.make_node("MatMul", [f"m{i}", "square"], [f"m{i + 1}"]))
    nodes += [
        helper.make_node("ReduceMax", [f"m{loops}"], ["last"], keepdims=0),
        helper.make_node("Mul", ["last", "zero"], ["nothing"]),
        helper.make_node("Add", ["found", "nothing"], ["vectors"]),
    ]
    return model(
        nodes,
        [value("ids", "INT64", ("batch", 1))],
        [value("vectors", "FP32", ("batch", 1, 4))],
        {"table": table, "square": np.zeros((size, size), np.float32), "zero": np.float32(0).reshape(())},
    )


def stall() -> bytes:
    """count = turns, INT64 [1] without a batch axis, after as many turns of a loop: about a microsecond each."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["more_out"]),
            helper.make_node("Add", ["sum", "one"], ["sum_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.INT64, [1]),
        ],
        [
            helper.make_tensor_value_info("more_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.INT64, [1]),
        ],
    )
    return model(
        [
            helper.make_node("Reshape", ["turns", "no_dims"], ["limit"]),
            helper.make_node("Loop", ["limit", "always", "start"], ["count"], body=body),
        ],
        [value("turns", "INT64", [1])],
        [value("count", "INT64", [1])],
        {
            "no_dims": np.zeros((0,), np.int64),
            "always": np.asarray(True),
            "start": np.zeros((1,), np.int64),
            "one": np.ones((1,), np.int64),
        },
    )


def centred() -> bytes:
    """y = x less the mean over the batch: rows depend on each other. FP32 [batch, 4]."""
    return model(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [value("x", "FP32", ("batch", 4))],
        [value("y", "FP32", ("batch", 4))],
    )


def dynamically_quantized() -> bytes:
    """A product of FP32 [batch, 8] in 8 bits, with one scale over the whole batch. y is FP32 [batch, 8]."""
    weights = np.random.default_rng(3).integers(-100, 100, (8, 8)).astype(np.int8)
    return model(
        [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["quantized", "scale", "zero"]),
            helper.make_node("MatMulInteger", ["quantized", "weights", "zero"], ["product"]),
            helper.make_node("Cast", ["product"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["wide", "scale"], ["y"]),
        ],
        [value("x", "FP32", ("batch", 8))],
        [value("y", "FP32", ("batch", 8))],
        {"weights": weights},
    )


def noisy() -> bytes:
    """y = x and a random number. FP32 [batch, 4]."""
    return model(
        [
            helper.make_node("RandomNormalLike", ["x"], ["noise"]),
            helper.make_node("Add", ["x", "noise"], ["y"]),
        ],
        [value("x", "FP32", ("batch", 4))],
        [value("y", "FP32", ("batch", 4))],
    )


def distinct() -> bytes:
    """y = the different values of INT64 x [n]: an output whose first axis counts something else than x's."""
    return model(
        [helper.make_node("Unique", ["x"], ["y"], sorted=1)],
        [value("x", "INT64", ("n",))],
        [value("y", "INT64", ("m",))],
    )


def total() -> bytes:
    """The sum of FP32 [batch, 4] over everything, a scalar: an output without a batch axis."""
    return model(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [value("x", "FP32", ("batch", 4))],
        [value("y", "FP32", ())],
    )


def row_sums() -> bytes:
    """y [batch] = the sum of each row of FP32 x [batch, width]."""
    return model(
        [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
        [value("x", "FP32", ("batch", "width"))],
        [value("y", "FP32", ("batch",))],
        {"axes": np.asarray([1], np.int64)},
    )


def misdeclared() -> bytes:
    """y = x, FP32 [batch, width], where the graph says that y is [batch, 8] whatever x is."""
    return model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", "FP32", ("batch", "width"))],
        [value("y", "FP32", ("batch", 8))],
    )


def unknown_operator() -> bytes:
    """A graph with an operator that does not exist."""
    node = helper.make_node("FlyToTheMoon", ["x"], ["y"])
    return model([node], [value("x", "FP32", ("batch", 4))], [value("y", "FP32", ("batch", 4))])


def mistyped() -> bytes:
    """A graph that adds numbers to strings."""
    node = helper.make_node("Add", ["x", "s"], ["y"])
    return model(
        [node],
        [value("x", "FP32", ("batch", 4)), value("s", "BYTES", ("batch", 4))],
        [value("y", "FP32", ("batch", 4))],
    )


def pictures() -> bytes:
    """y is x, float32 [batch, 3, 8, 8]."""
    return identity("FP32", ("batch", 3, 8, 8))


def bright_box(width: int = 64, height: int = 64) -> bytes:
    """boxes [batch, 1, 5]: left, top, right and bottom, in pixels, of where FP32 x [batch, 3, height, width] is above a
    half, and the largest of all its numbers."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["grey"], axes=[1], keepdims=0),
        helper.make_node("Greater", ["grey", "half"], ["above"]),
        helper.make_node("Cast", ["above"], ["bright"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["bright"], ["columns"], axes=[1], keepdims=0),
        helper.make_node("ReduceMax", ["bright"], ["lines"], axes=[2], keepdims=0),
        helper.make_node("ReduceMax", ["grey"], ["largest"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["largest", "last"], ["score"]),
    ]
    for axis, first, end in (("columns", "left", "right"), ("lines", "top", "bottom")):
        nodes += [
            helper.make_node("ArgMax", [axis], [first], axis=1, keepdims=1),
            helper.make_node("ArgMax", [axis], [f"{end}most"], axis=1, keepdims=1, select_last_index=1),
            helper.make_node("Add", [f"{end}most", "one"], [end]),
        ]
    nodes += [
        helper.make_node("Concat", ["left", "top", "right", "bottom"], ["whole"], axis=1),
        helper.make_node("Cast", ["whole"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["numbers", "score"], ["found"], axis=1),
        helper.make_node("Unsqueeze", ["found", "second"], ["boxes"]),
    ]
    return model(
        nodes,
        [value("x", "FP32", ("batch", 3, height, width))],
        [value("boxes", "FP32", ("batch", 1, 5))],
        {
            "half": np.float32(0.5).reshape(()),
            "one": np.ones((1,), np.int64),
            "last": np.array([1], np.int64),
            "second": np.array([1], np.int64),
        },
    )


def token_sums() -> bytes:
    """y = the sum of the INT64 ids [batch, length] of each row, as FP32 [batch, 1]."""
    return model(
        [
            helper.make_node("ReduceSum", ["input_ids", "axis"], ["sums"], keepdims=1),
            helper.make_node("Cast", ["sums"], ["y"], to=TensorProto.FLOAT),
        ],
        [value("input_ids", "INT64", ("batch", "length"))],
        [value("y", "FP32", ("batch", 1))],
        {"axis": np.array([1], np.int64)},
    )


def put(
    repository: Path, name: str, content: bytes, version: int = 1, manifest: str = "", about: str = ""
) -> Path:
    """Writes a version, with model.toml and version.toml where they are given; returns the version's directory."""
    directory = repository / name / str(version)
    directory.mkdir(parents=True)
    if manifest:
        (repository / name / "model.toml").write_text(manifest)
    if about:
        (directory / "version.toml").write_text(about)
    (directory / "model.onnx").write_bytes(content)
    return directory


def put_by_rename(repository: Path, name: str, content: bytes, version: int) -> Path:
    """Writes a version under a hidden name and renames it, so that nobody sees half of it."""
    hidden = repository / f".{name}.{version}"
    hidden.mkdir(parents=True)
    (hidden / "model.onnx").write_bytes(content)
    target = repository / name / str(version)
    target.parent.mkdir(exist_ok=True)
    return hidden.rename(target)
