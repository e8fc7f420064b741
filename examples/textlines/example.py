"""Reads lines of text: which way up each is, then what it says; every answer compared with a chain without a server."""

import asyncio
import shutil
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import orientation
import recogniser
from lines import UPSIDE_DOWN, Line, render, turned
from steelyard import AsyncClient
from steelyard.client.requests import Request, encode_request
from steelyard.demo.server import ServerProcess
from steelyard.models.golden import write_golden
from steelyard.wire import encode_response

LINES = 240
IN_FLIGHT = 8
# What a score may differ by: a batch is summed in another order than a row by itself.
TOLERANCE = 1e-3

Scores = np.ndarray[Any, Any]


def write_examples(
    model: ModuleType, version: Path, files: list[bytes], found: list[str], scores: Scores
) -> None:
    """One golden example: what is right for the first four lines."""
    asked = encode_request(Request(model=model.MODEL, inputs={"line": np.array(files[:4], dtype=object)}))
    outputs = model.answer(found[:4], scores[:4])
    write_golden(version, "four-lines", asked, encode_response(model.MODEL, "1", "", {}, outputs))


async def ask(
    address: str, model: ModuleType, files: list[bytes], outputs: tuple[str, str]
) -> tuple[list[str], Scores, float]:
    """The server's texts and scores, each line a request, and how long all of it took, seconds."""
    texts, scores = [""] * len(files), [np.zeros(0)] * len(files)
    waiting = iter(enumerate(files))

    async def work(client: AsyncClient) -> None:
        for index, file in waiting:
            result = await client.infer(model.MODEL, {"line": np.array([file], dtype=object)})
            texts[index] = result[outputs[0]].ravel()[0].decode()
            scores[index] = result[outputs[1]][0]

    client = AsyncClient(address, timeout_s=60.0)
    try:
        started_s = time.perf_counter()
        await asyncio.gather(*(work(client) for _ in range(IN_FLIGHT)))
        return texts, np.array(scores), time.perf_counter() - started_s
    finally:
        await client.close()


def compare(what: str, came: list[str], scores: Scores, right: list[str], right_scores: Scores) -> bool:
    """Prints how the server's answers compare with the chain's; returns whether they are the same."""
    equal = sum(one == other for one, other in zip(came, right, strict=True))
    farthest = float(np.abs(scores - right_scores).max())
    print(f"{equal} of {len(right)} {what} equal the reference's, scores within {farthest:.1e}")
    return equal == len(right) and farthest <= TOLERANCE


def read(address: str, versions: dict[ModuleType, Path], lines: list[Line]) -> bool:
    """Asks the server which way up the lines are, turns those that are not, and asks what they say."""
    files = [line.file for line in lines]
    up, scores, seconds = asyncio.run(ask(address, orientation, files, ("up", "scores")))
    print(f"{len(lines)} lines of text: {len(lines) / seconds:,.0f} a second, {IN_FLIGHT} in flight")
    same = compare("labels", up, scores, *orientation.reference(versions[orientation], files))
    print(f"{sum(came == line.up for came, line in zip(up, lines, strict=True))} of {len(lines)} are right")

    upright = [turned(file) if way == UPSIDE_DOWN else file for file, way in zip(files, up, strict=True)]
    texts, sure, seconds = asyncio.run(ask(address, recogniser, upright, ("text", "score")))
    print(f"upright, they are read: {len(lines) / seconds:,.0f} a second, {IN_FLIGHT} in flight")
    same &= compare("texts", texts, sure, *recogniser.reference(versions[recogniser], upright))
    right = [came == line.text for came, line in zip(texts, lines, strict=True)]
    print(f"{sum(right)} of {len(lines)} are what was set")
    for came, line in zip(texts, lines, strict=True):
        if came != line.text:
            print(f"  {line.text!r} was read as {came!r}")
    return same


def main(directory: Path) -> int:
    """Runs all of it in `directory`, which is made anew."""
    shutil.rmtree(directory, ignore_errors=True)
    repository, data = directory / "models", directory / "data"
    versions = {model: repository / model.MODEL / "1" for model in (orientation, recogniser)}
    lines = render(LINES)
    some = [line.file for line in lines if line.up != UPSIDE_DOWN][:4]
    for model, version in versions.items():
        model.write_version(version)
        write_examples(model, version, some, *model.reference(version, some))
    server = ServerProcess(repository, data, directory / "server.log")
    try:
        same = read(server.wait_ready().grpc_address, versions, lines)
    finally:
        server.stop()
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".example-textlines")))
