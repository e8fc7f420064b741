"""Serves all-MiniLM-L6-v2 on raw sentences, and compares each vector with what the package's own code made of it."""

import asyncio
import shutil
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

import recorded
from graph import WIDTH, build
from package import model_directory
from steelyard import AsyncClient
from steelyard.client.requests import Request, encode_request
from steelyard.demo.server import ServerProcess
from steelyard.models.golden import write_golden
from steelyard.wire import encode_response
from texts import sentences

MODEL = "sentences"
# What the package's own code cuts sentences to.
MAX_TOKENS = 256
IN_FLIGHT = 8
MOST_A_REQUEST = 8
# Rounding leaves 3e-8, an approximation of Gelu 4e-6, padding that counts 0.8.
LEAST_COSINE = 0.999999

Vectors = np.ndarray[Any, Any]


def write_version(version: Path) -> None:
    """The model with its tokenizer and its pipeline."""
    version.mkdir(parents=True)
    source = model_directory()
    (version / "model.onnx").write_bytes(build(source / "model.safetensors"))
    shutil.copy(source / "tokenizer.json", version)
    tokenize = {"step": "tokenize", "max_length": MAX_TOKENS}
    document = {
        "input": [{"name": "sentence", "steps": [tokenize]}],
        "output": [
            {
                "name": "embedding",
                "source": "last_hidden_state",
                "steps": [{"step": "pool", "how": "mean"}, {"step": "normalise"}],
            }
        ],
        "lineage": {"notes": "all-MiniLM-L6-v2, made by examples/sentences/example.py"},
    }
    (version / "version.toml").write_text(tomli_w.dumps(document))


def as_rows(texts: list[str]) -> np.ndarray[Any, Any]:
    """Sentences as callers send them."""
    return np.array([text.encode() for text in texts], dtype=object)


def write_examples(version: Path, texts: list[str], right: Vectors) -> None:
    """Three golden examples of four sentences each."""
    for number, start in enumerate((0, len(texts) // 2, len(texts) - 4)):
        some = slice(start, start + 4)
        asked = encode_request(Request(model=MODEL, inputs={"sentence": as_rows(texts[some])}))
        outputs = [("embedding", "FP32", right[some].shape, right[some].tobytes())]
        write_golden(version, f"sentences-{number}", asked, encode_response(MODEL, "1", "", {}, outputs))


async def ask(address: str, texts: list[str]) -> tuple[Vectors, float]:
    """The server's vectors, asked for one to MOST_A_REQUEST at a time, and how long it took, seconds."""
    sizes = np.random.default_rng(6).integers(1, MOST_A_REQUEST + 1, len(texts))
    cuts = [0, *(int(end) for end in sizes.cumsum() if end < len(texts)), len(texts)]
    pieces = iter(list(pairwise(cuts)))
    vectors = np.zeros((len(texts), WIDTH), np.float32)

    async def work(client: AsyncClient) -> None:
        for start, end in pieces:
            result = await client.infer(MODEL, {"sentence": as_rows(texts[start:end])})
            vectors[start:end] = result["embedding"]

    client = AsyncClient(address, timeout_s=60.0)
    try:
        started_s = time.perf_counter()
        await asyncio.gather(*(work(client) for _ in range(IN_FLIGHT)))
        return vectors, time.perf_counter() - started_s
    finally:
        await client.close()


def cosines(some: Vectors, others: Vectors) -> Vectors:
    """The cosine between each vector and its counterpart, [n]."""
    one, other = some.astype(np.float64), others.astype(np.float64)
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def main(directory: Path) -> int:
    """Runs all of it in `directory`, which is made anew."""
    texts = sentences()
    right = recorded.read(texts)
    shutil.rmtree(directory, ignore_errors=True)
    repository, data = directory / "models", directory / "data"
    version = repository / MODEL / "1"
    write_version(version)
    write_examples(version, texts, right)
    server = ServerProcess(repository, data, directory / "server.log")
    try:
        came, seconds = asyncio.run(ask(server.wait_ready().grpc_address, texts))
    finally:
        server.stop()
    found = cosines(came, right)
    alike = int((found >= LEAST_COSINE).sum())
    print(f"{len(texts)} sentences: {len(texts) / seconds:,.0f} a second, {IN_FLIGHT} requests in flight")
    print(
        f"{alike} of {len(texts)} have a cosine of at least {LEAST_COSINE} with the package's own, "
        f"the least is 1 - {1 - float(found.min()):.0e}"
    )
    return 0 if alike == len(texts) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".example-sentences")))
