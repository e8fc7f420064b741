"""Small ONNX models for the tests of the runtime."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, int, list[int | str] | None]],
    outputs: list[tuple[str, int, list[int | str] | None]],
    constants: dict[str, np.ndarray] | None = None,
) -> Path:
    """Saves a graph as `path`/model.onnx and returns that file."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.mkdir(parents=True, exist_ok=True)
    file = path / "model.onnx"
    onnx.save(model, file)
    return file


def identity(path: Path, element: int, shape: list[int | str]) -> Path:
    """Y = X."""
    return save(
        path, [helper.make_node("Identity", ["X"], ["Y"])], [("X", element, shape)], [("Y", element, shape)]
    )


def scaled(path: Path) -> Path:
    """Y = 2 X over float rows of 3."""
    return save(
        path,
        [helper.make_node("Mul", ["X", "two"], ["Y"])],
        [("X", FLOAT, ["n", 3])],
        [("Y", FLOAT, ["n", 3])],
        {"two": np.float32(2)},
    )


def centred(path: Path) -> Path:
    """Y = X - mean of X over the batch: each row depends on the others."""
    return save(
        path,
        [
            helper.make_node("ReduceMean", ["X"], ["m"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["X", "m"], ["Y"]),
        ],
        [("X", FLOAT, ["n", 3])],
        [("Y", FLOAT, ["n", 3])],
    )


def centred_tokens(path: Path, vocabulary: int, kinds: int) -> Path:
    """Y = E[ids] - mean of E[ids] over the batch, plus K[kind]: rows depend on each other by their ids alone."""
    rng = np.random.default_rng(3)
    return save(
        path,
        [
            helper.make_node("Gather", ["E", "ids"], ["e"]),
            helper.make_node("ReduceMean", ["e"], ["m"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["e", "m"], ["c"]),
            helper.make_node("Gather", ["K", "kind"], ["k"]),
            helper.make_node("Add", ["c", "k"], ["Y"]),
        ],
        [("ids", TensorProto.INT64, ["n", 5]), ("kind", TensorProto.INT64, ["n", 5])],
        [("Y", FLOAT, ["n", 5, 4])],
        {
            "E": rng.standard_normal((vocabulary, 4)).astype(np.float32),
            "K": rng.standard_normal((kinds, 4)).astype(np.float32),
        },
    )


def noisy(path: Path) -> Path:
    """Y = X + noise: no two runs are alike."""
    return save(
        path,
        [helper.make_node("RandomNormalLike", ["X"], ["r"]), helper.make_node("Add", ["X", "r"], ["Y"])],
        [("X", FLOAT, ["n", 3])],
        [("Y", FLOAT, ["n", 3])],
    )


def dynamically_quantized(path: Path) -> Path:
    """Y = X W in 8 bits, with one scale for the whole batch."""
    weights = np.random.default_rng(1).integers(-100, 100, (16, 8)).astype(np.int8)
    return save(
        path,
        [
            helper.make_node("DynamicQuantizeLinear", ["X"], ["q", "scale", "zero"]),
            helper.make_node("MatMulInteger", ["q", "W", "zero"], ["i"]),
            helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
            helper.make_node("Mul", ["f", "scale"], ["Y"]),
        ],
        [("X", FLOAT, ["n", 16])],
        [("Y", FLOAT, ["n", 8])],
        {"W": weights},
    )


def doubled(path: Path) -> Path:
    """Y = X twice, one under the other: an output with other rows than the input."""
    return save(
        path,
        [helper.make_node("Concat", ["X", "X"], ["Y"], axis=0)],
        [("X", FLOAT, ["n", 3])],
        [("Y", FLOAT, ["m", 3])],
    )


def summed(path: Path) -> Path:
    """Y = the sum of each row of X, which may have any length."""
    return save(
        path,
        [helper.make_node("ReduceSum", ["X", "last"], ["Y"], keepdims=1)],
        [("X", FLOAT, ["n", "t"])],
        [("Y", FLOAT, ["n", 1])],
        {"last": np.array([1], np.int64)},
    )


def embedding(path: Path, vocabulary: int = 50, length: int | str = "t") -> Path:
    """Y = E[X]: fails for an index outside the vocabulary."""
    table = np.arange(vocabulary * 2, dtype=np.float32).reshape(vocabulary, 2)
    return save(
        path,
        [helper.make_node("Gather", ["E", "X"], ["Y"])],
        [("X", TensorProto.INT64, ["n", length])],
        [("Y", FLOAT, ["n", length, 2])],
        {"E": table},
    )


def token_means(path: Path, masked: bool = True) -> Path:
    """tokens: float32 [n, length, 4], one for each of ids; mean: float32 [n, 4], over those that mask has, or all."""
    vectors = np.random.default_rng(3).random((128, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["V", "ids"], ["tokens"]),
        helper.make_node("Cast", ["mask"], ["kept"], to=FLOAT),
        helper.make_node("Unsqueeze", ["kept", "last"], ["weights"]),
    ]
    if masked:
        nodes += [
            helper.make_node("Mul", ["tokens", "weights"], ["weighted"]),
            helper.make_node("ReduceSum", ["weighted", "middle"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", ["weights", "middle"], ["count"], keepdims=0),
        ]
    else:
        nodes += [
            helper.make_node("ReduceSum", ["tokens", "middle"], ["sum"], keepdims=0),
            helper.make_node("Add", ["weights", "one"], ["ones"]),
            helper.make_node("ReduceSum", ["ones", "middle"], ["count"], keepdims=0),
        ]
    nodes.append(helper.make_node("Div", ["sum", "count"], ["mean"]))
    return save(
        path,
        nodes,
        [(name, TensorProto.INT64, ["n", "length"]) for name in ("ids", "mask")],
        [("tokens", FLOAT, ["n", "length", 4]), ("mean", FLOAT, ["n", 4])],
        {
            "V": vectors,
            "last": np.array([2], np.int64),
            "middle": np.array([1], np.int64),
            "one": np.array([1], np.float32),
        },
    )
