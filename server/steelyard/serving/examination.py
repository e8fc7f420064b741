"""A golden example, run by a version that serves: through its own pipeline, runners and encoder, alone in its batch."""

import asyncio
from typing import Any

from steelyard.errors import SteelyardError
from steelyard.models.golden import GoldenExample
from steelyard.scheduling.lane import Batch
from steelyard.scheduling.ticket import Ticket
from steelyard.serving.execution import Job, execute, now_ns
from steelyard.serving.fit import fit
from steelyard.serving.golden import compare_answer, told
from steelyard.serving.preparing import prepare_request
from steelyard.serving.version import ServedVersion
from steelyard.wire import decode_request


class Examination:
    """One example on its way through a version; `problem` is what is wrong with the answer, empty where nothing is.

    `batch` is a place in the version's lane that nobody else wanted; it holds no tickets until the example is prepared.
    """

    __slots__ = ("batch", "done", "example", "problem", "version")

    def __init__(
        self, batch: Batch, version: ServedVersion, example: GoldenExample, done: "asyncio.Future[str]"
    ) -> None:
        self.batch = batch
        self.version = version
        self.example = example
        self.done = done
        self.problem = ""


def examine(job: Examination) -> None:
    """Runs the example to its end, on whatever thread calls it. Raises nothing: errors are problems."""
    try:
        job.problem = compare_answer(job.example, _answer(job))
    except Exception as error:  # of an example that cannot be understood, too
        job.problem = told(error)


def _answer(job: Examination) -> bytes:
    """The serialized answer; raises what a caller would be told."""
    version, batch = job.version, job.batch
    request: Any = decode_request(job.example.request)
    rows, key, direct = fit(version, request)
    size = request.held_bytes
    if version.pipeline is not None:
        request = prepare_request(version, request, rows, version.pipeline.tally(), direct)
        rows, key, size = request.rows, request.key, request.held_bytes
    batch.tickets.append(Ticket(None, request, rows, key, now_ns(), 0, size_bytes=size))
    batch.rows = rows
    work = Job(batch, version)
    execute(work)
    (outcome,) = work.outcomes
    if isinstance(outcome, SteelyardError):
        raise outcome
    return outcome
