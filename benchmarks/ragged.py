"""MiniLM on sentences of real text, one a request: batches of similar length against three other ways to run them.

What it favours: bare ONNX Runtime, which the other ways are run on: it has all sentences at hand before it begins, no
client beside it, and nothing to read, pool or write. The optimum knows all lengths, has sorted them, and cuts them by
dynamic programming over costs that were measured before; its batches are then run like the others. All ways use as many
threads as the server has.
"""

import asyncio
import importlib.util
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import tomli_w

from benchmarks.processes import steelyard
from steelyard.client import AsyncClient
from steelyard.runtime.threads import thread_budget

SENTENCES = Path(__file__).parents[1] / "examples" / "sentences"
MAX_TOKENS = 256
IN_FLIGHT = 64
REQUESTS = 1000
# Rows that first-come batches have, padded to their longest. The more, the more of them is padding.
FIRST_COME = (16, 4, 2)
MOST_TOGETHER = 32
ROUNDS = 5
# How often each batch is run for its cost, of which the least counts: 24,000 tokens each time.
COST_RUNS = 3
# Sizes and lengths at which the optimum's costs are measured; between them it goes by straight lines.
SIZES = (1, 2, 4, 8, 16, 32)
LENGTHS = (4, 8, 16, 32, 64, 128, 256)
MEASURED_PLACES = 4096

Ids = np.ndarray[Any, Any]
Batch = list[int]


def _example(name: str) -> Any:
    """A module of the example that makes the model."""
    sys.path.insert(0, str(SENTENCES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SENTENCES))


def tokens(count: int) -> list[Ids]:
    """Token ids of sentences drawn from the example's texts, int64 of [1, tokens] each."""
    from tokenizers import Tokenizer

    source = _example("package").model_directory()
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(_example("texts").sentences())]
    chosen = np.random.default_rng(4).integers(0, len(encoded), count)
    return [np.array([encoded[place]], np.int64) for place in chosen]


def write_repository(root: Path) -> Path:
    """The model as it is, its outputs pooled; ragged, and never batched. Gives the graph's path."""
    content = _example("graph").build(_example("package").model_directory() / "model.safetensors")
    pooled = [{"step": "pool", "how": "mean", "mask": "attention_mask"}, {"step": "normalise"}]
    document = {
        "input": [{"name": name, "ragged": True} for name in ("input_ids", "attention_mask")],
        "output": [{"name": "embedding", "source": "last_hidden_state", "steps": pooled}],
    }
    for name in ("ragged", "alone"):
        version = root / name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(content)
        (version / "version.toml").write_text(tomli_w.dumps(document))
    (root / "alone" / "model.toml").write_text(tomli_w.dumps({"serving": {"batching": False}}))
    return root / "ragged" / "1" / "model.onnx"


class Bare:
    """ONNX Runtime alone: batches that are given, on as many threads as the server has."""

    def __init__(self, path: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._threads = threads

    def run(self, rows: Sequence[Ids]) -> None:
        """One batch, padded to its longest."""
        longest = max(ids.shape[1] for ids in rows)
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros_like(ids)
        for place, own in enumerate(rows):
            ids[place, : own.shape[1]] = own
            mask[place, : own.shape[1]] = 1
        self._session.run(None, {"input_ids": ids, "attention_mask": mask})

    def rate(self, rows: Sequence[Ids], batches: Sequence[Batch]) -> float:
        """Rows a second over all batches."""
        left = iter(list(batches))
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    batch = next(left, None)
                if batch is None:
                    return
                self.run([rows[place] for place in batch])

        threads = [threading.Thread(target=work) for _ in range(self._threads)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(rows) / (time.perf_counter() - started)

    def costs(self, runs: int) -> Callable[[int, int], float]:
        """Seconds of a run by rows and length: the least of so many runs each, straight between them."""
        grid = np.zeros((len(SIZES), len(LENGTHS)))
        for row, size in enumerate(SIZES):
            for column, length in enumerate(LENGTHS):
                if size * length > MEASURED_PLACES:
                    grid[row, column] = grid[row - 1, column] * size / SIZES[row - 1]
                    continue
                made = [np.full((1, length), 2000, np.int64)] * size
                grid[row, column] = min(self._timed(made) for _ in range(runs))

        def cost(rows: int, length: int) -> float:
            along = [np.interp(length, LENGTHS, line) for line in grid]
            return float(np.interp(rows, SIZES, along))

        return cost

    def _timed(self, rows: Sequence[Ids]) -> float:
        started = time.perf_counter()
        self.run(rows)
        return time.perf_counter() - started


def best_cuts(rows: Sequence[Ids], cost: Callable[[int, int], float]) -> list[Batch]:
    """The batches of neighbours by length that take the least time in all, by dynamic programming; longest first."""
    order = sorted(range(len(rows)), key=lambda place: rows[place].shape[1])
    lengths = [rows[place].shape[1] for place in order]
    table = {
        length: [0.0] + [cost(count, length) for count in range(1, MOST_TOGETHER + 1)]
        for length in set(lengths)
    }
    least, cuts = [0.0], [0]
    for end in range(1, len(order) + 1):
        costs = table[lengths[end - 1]]
        found = min(
            (least[end - count] + costs[count], count) for count in range(1, min(end, MOST_TOGETHER) + 1)
        )
        least.append(found[0])
        cuts.append(found[1])
    batches = []
    end = len(order)
    while end:
        batches.append(order[end - cuts[end] : end])
        end -= cuts[end]
    return batches


async def served_rate(port: int, model: str, rows: Sequence[Ids]) -> float:
    """Requests a second of the server, IN_FLIGHT at a time."""
    left = iter(rows)
    client = AsyncClient(f"127.0.0.1:{port}", timeout_s=120.0)

    async def work() -> None:
        for ids in left:
            await client.infer(model, {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    try:
        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return len(rows) / (time.perf_counter() - started)
    finally:
        await client.close()


def run(rounds: int = ROUNDS, requests: int = REQUESTS, cost_runs: int = COST_RUNS) -> dict[str, Any]:
    """Sentences a second of each way, round by round, and the share of padding that was served."""
    rows = tokens(requests)
    first_come = {
        f"first come, batches of {size}": [
            list(range(start, min(start + size, len(rows)))) for start in range(0, len(rows), size)
        ]
        for size in FIRST_COME
    }
    rates: dict[str, list[float]] = {
        way: [] for way in ("served", "served alone", *first_come, "one at a time", "optimum")
    }
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "models"
        bare = Bare(write_repository(root), thread_budget())
        optimum = best_cuts(rows, bare.costs(cost_runs))
        alone = [[place] for place in range(len(rows))]
        with steelyard(root) as server:
            # What batches cost is learned here, as it is in the first minute of a server.
            asyncio.run(served_rate(server.port, "ragged", rows))
            for _ in range(rounds):
                rates["served"].append(asyncio.run(served_rate(server.port, "ragged", rows)))
                rates["optimum"].append(bare.rate(rows, optimum))
                rates["served alone"].append(asyncio.run(served_rate(server.port, "alone", rows)))
                rates["one at a time"].append(bare.rate(rows, alone))
                for way, batches_of_it in first_come.items():
                    rates[way].append(bare.rate(rows, batches_of_it))
            padding = server.metric("steelyard_padding_ratio", model="ragged")
            batches = server.metric("steelyard_batches_total", model="ragged")
            served = server.metric("steelyard_rows_total", model="ragged")
    return {
        "rates": rates,
        "ratios": {
            way: statistics.median(
                own / other for own, other in zip(rates["served"], rates[way], strict=True)
            )
            for way in rates
            if way != "served"
        },
        "padding": padding,
        "mean_batch_rows": served / batches,
        "tokens": [int(np.quantile([ids.shape[1] for ids in rows], share)) for share in (0.1, 0.5, 0.9)],
    }


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    low, middle, high = found["tokens"]
    lines = [
        f"sentences of {low} to {high} tokens (a tenth are outside at each end; the middle one has {middle}), "
        f"{IN_FLIGHT} in flight; served in batches of {found['mean_batch_rows']:.1f}, {found['padding']:.1%} padding",
        "| way | sentences/s (spread) | served ÷ it |",
        "|---|---|---|",
    ]
    for way, rates in found["rates"].items():
        ratio = found["ratios"].get(way)
        lines.append(
            f"| {way} | {statistics.median(rates):.1f} ({min(rates):.1f}–{max(rates):.1f}) "
            f"| {'' if ratio is None else f'{ratio:.3f}'} |"
        )
    return lines
