"""From a JPEG, or from decoded pixels, to a normalised float32 tensor: `python -m benchmarks image`.

One process on one core, the chains in turn, medians of rounds. It favours us in that the tensor's memory is there
already, as the batch's is, while the others make theirs; and the others in that ours reads the header and checks
limits, and theirs check nothing. The picture is made here, of gradients, texture, text and noise, because entropy
decoding depends on what is in it: most photos of these sides and quality have 100 to 350 KB.
"""

import io
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.benchmark import Chart
from benchmarks.photo import HEIGHT, WIDTH, picture
from steelyard._native.image import INSTRUCTIONS, Renderer
from steelyard.pipelines.image.decode import DecodeOptions, Decoder
from steelyard.pipelines.image.geometry import Geometry

ROUNDS = 31
NOISES = (0.0, 2.5)
SIDE = 224
MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])
Chain = Callable[[], object]


class Ours:
    """Our chain: header, placement, decoding, rendering into the slot."""

    def __init__(self, data: bytes, instructions: str | None = None) -> None:
        self.data = data
        self.decoder = Decoder(DecodeOptions())
        self.geometry = Geometry("stretch", SIDE, SIDE)
        self.slot = np.empty((3, SIDE, SIDE), np.float32)
        self.renderer = Renderer(
            height=SIDE,
            width=SIDE,
            scale=(1 / 255 / DEVIATION).tolist(),
            offset=(-MEAN / DEVIATION).tolist(),
            instructions=instructions,
        )

    def chain(self, scaled: bool) -> np.ndarray[Any, Any]:
        header = self.decoder.header(self.data)
        placement = self.geometry.place(header.width, header.height)
        decoded = self.decoder.decode(self.data, header, placement.reduction() if scaled else 1)
        self.renderer.render(
            decoded.pixels, self.slot, *placement.reduced(decoded.reduction), header.orientation
        )
        return self.slot

    def resize(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        height, width = pixels.shape[:2]
        self.renderer.render(pixels, self.slot, *self.geometry.place(width, height))
        return self.slot


def pillow_tensor(image: Image.Image) -> np.ndarray[Any, Any]:
    resized = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    tensor = resized.astype(np.float32) / np.float32(255)
    tensor = (tensor - MEAN.astype(np.float32)) / DEVIATION.astype(np.float32)
    return np.ascontiguousarray(tensor.transpose(2, 0, 1))


def pillow_chain(data: bytes, draft: bool) -> np.ndarray[Any, Any]:
    image = Image.open(io.BytesIO(data))
    if draft:
        image.draft("RGB", (SIDE, SIDE))
    return pillow_tensor(image)


def opencv_tensor(pixels: np.ndarray[Any, Any], swap: bool) -> np.ndarray[Any, Any]:
    resized = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    mean = (MEAN * 255).tolist()
    blob = cv2.dnn.blobFromImage(resized, 1 / 255, (SIDE, SIDE), mean, swapRB=swap)
    blob /= DEVIATION.astype(np.float32)[None, :, None, None]
    return np.asarray(blob[0])


def opencv_chain(data: bytes, flags: int) -> np.ndarray[Any, Any]:
    return opencv_tensor(cv2.imdecode(np.frombuffer(data, np.uint8), flags), swap=True)


def timed_ms(chains: dict[str, Chain], rounds: int) -> dict[str, list[float]]:
    """ms of each chain in every round; the chains take turns, so that noise meets them alike."""
    times: dict[str, list[float]] = {name: [] for name in chains}
    for chain in chains.values():
        chain()
    for _ in range(rounds):
        for name, chain in chains.items():
            began = time.perf_counter_ns()
            chain()
            times[name].append((time.perf_counter_ns() - began) / 1e6)
    return times


def kinds(data: bytes) -> dict[str, dict[str, Chain]]:
    """The chains by kind, ours first in each."""
    ours = Ours(data)
    header = ours.decoder.header(data)
    decoded = ours.decoder.decode(data, header).pixels
    as_pillow = Image.fromarray(decoded)
    reduction = ours.geometry.place(header.width, header.height).reduction()
    resize_only: dict[str, Chain] = {
        f"ours, {name}": partial(Ours(data, name).resize, decoded) for name in INSTRUCTIONS
    }
    return {
        "JPEG, decoded whole": {
            "ours": lambda: ours.chain(scaled=False),
            "Pillow, then NumPy": lambda: pillow_chain(data, draft=False),
            "OpenCV, area, blobFromImage": lambda: opencv_chain(data, cv2.IMREAD_COLOR),
        },
        "JPEG, decoded reduced": {
            "ours": lambda: ours.chain(scaled=True),
            "Pillow, draft": lambda: pillow_chain(data, draft=True),
            "OpenCV, a half": lambda: opencv_chain(data, cv2.IMREAD_REDUCED_COLOR_2),
            "OpenCV, a quarter": lambda: opencv_chain(data, cv2.IMREAD_REDUCED_COLOR_4),
        },
        "decoded uint8 pixels": {
            **resize_only,
            "Pillow, then NumPy": lambda: pillow_tensor(as_pillow),
            "OpenCV, area, blobFromImage": lambda: opencv_tensor(decoded, swap=False),
        },
        "decoding alone": {
            "ours, whole": lambda: ours.decoder.decode(data, header).pixels,
            "ours, reduced": lambda: ours.decoder.decode(data, header, reduction).pixels,
            "Pillow, whole": lambda: Image.open(io.BytesIO(data)).load(),
            "OpenCV, whole": lambda: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR),
            "OpenCV, a quarter": lambda: cv2.imdecode(
                np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_4
            ),
        },
    }


def differences(data: bytes) -> dict[str, float]:
    """The most by which our tensors differ from Pillow's of the same kind, in levels of 255."""
    ours = Ours(data)
    levels = 255 * DEVIATION[:, None, None]
    return {
        "whole": float(np.abs((ours.chain(scaled=False) - pillow_chain(data, draft=False)) * levels).max()),
        "reduced": float(np.abs((ours.chain(scaled=True) - pillow_chain(data, draft=True)) * levels).max()),
    }


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """By the size of the picture's file: ms of every chain by kind, on the first core that this process may use."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    cv2.setNumThreads(0)
    try:
        found = {}
        for noise in NOISES:
            data = picture(noise)
            found[f"{len(data) // 1000} KB"] = {
                "differs_levels": differences(data),
                "ms": {kind: timed_ms(chains, rounds) for kind, chains in kinds(data).items()},
            }
        return found
    finally:
        os.sched_setaffinity(0, cores)


def report(found: dict[str, Any]) -> list[str]:
    """A table a picture; the ratio is to the first row of its kind."""
    lines = []
    for size, result in found.items():
        lines += [
            f"{WIDTH}x{HEIGHT} JPEG of {size} to float32 3x{SIDE}x{SIDE}, normalised; one core; ours differs from"
            f" Pillow's by {max(result['differs_levels'].values()):.4f} levels of 255 at most",
            f"{'':34}{'median ms':>10}{'quartiles':>11}{'ratio':>8}",
        ]
        for kind, rows in result["ms"].items():
            lines.append(kind)
            first = statistics.median(next(iter(rows.values())))
            for name, times in rows.items():
                median, (low, _, high) = statistics.median(times), statistics.quantiles(times, n=4)
                lines.append(f"  {name:32}{median:10.2f}{high - low:11.2f}{median / first:8.2f}")
    return lines


def charts(found: dict[str, Any]) -> list[Chart]:
    """A chart a picture and kind."""
    return [
        Chart(f"{kind}, {size}", "ms", rows)
        for size, result in found.items()
        for kind, rows in result["ms"].items()
    ]
