"""The demonstration's load: several clients that ask at the same time, and what they were told."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from steelyard.client import AsyncClient
from steelyard.demo.questions import Question
from steelyard.demo.repository import INPUT, MODEL, OUTPUT
from steelyard.errors import SteelyardError

CLIENTS = 4
IN_FLIGHT_A_CLIENT = 4
# A tenth of a second is usual; a server that has not answered by then will not.
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Pass:
    """One version, asked about a number of files."""

    version: str
    labels: tuple[str, ...]
    """What it said, in the questions' order."""
    batching: str
    """Whether the server batches this version, in its own words."""
    seconds: float
    """From the first request to the last answer."""
    latencies_ms: tuple[float, ...]
    """As the callers saw them, in the questions' order."""

    @property
    def requests_per_s(self) -> float:
        """Answers a second, all clients together."""
        return len(self.labels) / self.seconds

    def latency_ms(self, percentile: float) -> float:
        """What so many percent of the answers took at most."""
        return float(np.percentile(self.latencies_ms, percentile))


def ask_all(address: str, version: int, questions: Sequence[Question], advance: Callable[[], None]) -> Pass:
    """Asks `version` about all files, `advance` after each answer.

    Raises the SteelyardError of the first request that fails.
    """
    try:
        return asyncio.run(_ask_all(address, str(version), questions, advance))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _ask_all(
    address: str, version: str, questions: Sequence[Question], advance: Callable[[], None]
) -> Pass:
    files = [np.array([question.file.content], dtype=object) for question in questions]
    labels = [""] * len(questions)
    latencies_ms = [0.0] * len(questions)
    waiting = iter(range(len(questions)))

    async def work(client: AsyncClient) -> None:
        for index in waiting:
            result = await client.infer(MODEL, {INPUT: files[index]}, version=version, classes={OUTPUT: 1})
            if result.version != version:
                raise SteelyardError(f"expected an answer of version {version}, came one of {result.version}")
            labels[index] = _label(result[OUTPUT].ravel()[0])
            latencies_ms[index] = result.elapsed_ns / 1e6
            advance()

    clients = [AsyncClient(address, timeout_s=TIMEOUT_S) for _ in range(CLIENTS)]
    try:
        # Also connects, which is no part of what is measured.
        described = [await client.metadata(MODEL, version) for client in clients]
        started_s = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for client in clients * IN_FLIGHT_A_CLIENT:
                tasks.create_task(work(client))
        seconds = time.perf_counter() - started_s
    finally:
        for client in clients:
            await client.close()
    batching = described[0].properties["batching_reason"]
    return Pass(version, tuple(labels), batching, seconds, tuple(latencies_ms))


def _label(best_class: bytes) -> str:
    """The label in "score:index:label"."""
    return best_class.decode().split(":", 2)[2]
