"""The model `tiny`: float32 [n,16] by [16,4], softmax; and one request for it, as bytes."""

import struct
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from steelyard.wire.generated import grpc_service as pb

SEED = 7


def tiny_model() -> onnx.ModelProto:
    """The model; the same weights at every call."""
    weights = np.random.default_rng(SEED).normal(size=(16, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "W"], ["Z"]), helper.make_node("Softmax", ["Z"], ["Y"], axis=1)],
        "tiny",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weights, "W")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_tiny(repository: Path, name: str = "tiny", version: int = 1) -> Path:
    """Saves the model as a version in a repository; returns the version's directory."""
    directory = repository / name / str(version)
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(tiny_model(), directory / "model.onnx")
    return directory


def tiny_request(rows: int = 1) -> bytes:
    """A serialized ModelInferRequest of `rows` rows."""
    request = pb.ModelInferRequest(model_name="tiny")
    tensor = request.inputs.add(name="X", datatype="FP32")
    tensor.shape.extend([rows, 16])
    values = np.random.default_rng(SEED).random((rows, 16), np.float32)
    request.raw_input_contents.append(values.tobytes())
    body: bytes = request.SerializeToString()
    return body


def framed(body: bytes) -> bytes:
    """A message with gRPC's five-byte prefix, as h2load sends it."""
    return b"\0" + struct.pack(">I", len(body)) + body
