"""Gates of the whole server, asked over the wire by h2load in turn with what it is held against."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gates.gate import Gate, Sides
from benchmarks.processes import Served, ceiling_process, h2load, scheduled_s, steelyard
from benchmarks.real import session
from benchmarks.real_models import real_models
from benchmarks.tiny import framed, save_tiny, tiny_request

# A round has to be long against h2load's own start, some milliseconds.
REQUESTS = 4_000
LONE_REQUESTS = 600
REAL_REQUESTS = 32
BARE_ROWS = 4
ROUNDS = 15


@contextlib.contextmanager
def many_in_flight(other_server: str | None = None, requests: int = REQUESTS) -> Iterator[Sides]:
    """CPU seconds a request of `tiny`, 64 in flight on 4 connections: the worker's, and the sketch's of a transport.

    CPU and not requests a second, which say more of the other load of the machine than of either side.
    `other_server`: a ceiling that stands where the server is.
    """
    with _tiny(other_server) as (server, sketch, body):

        def cpu_a_request(process: Asked, count: int) -> float:
            before = scheduled_s(process.pid)
            h2load(process.port, body, count, 4, 16)
            return (scheduled_s(process.pid) - before) / count

        yield Sides(
            lambda: cpu_a_request(server, requests),
            # Three times as many, as one takes a third of the time.
            lambda: cpu_a_request(sketch, 3 * requests),
        )


@contextlib.contextmanager
def one_in_flight() -> Iterator[Sides]:
    """The p50 of `tiny` with one call in flight, of both: what the server waits for shows here alone."""
    with _tiny(None) as (server, sketch, body):
        yield Sides(
            lambda: h2load(server.port, body, LONE_REQUESTS, 1, 1).p50_ms,
            lambda: h2load(sketch.port, body, LONE_REQUESTS, 1, 1).p50_ms,
        )


@contextlib.contextmanager
def real_model() -> Iterator[Sides]:
    """CPU seconds a row of the file-type model: the worker's with 16 in flight, and those of bare runs of four rows."""
    model = real_models()[0]
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        file = model.save(repository)
        body = Path(temporary) / "body"
        body.write_bytes(framed(model.request()))
        run, inputs = session(file, 1).run, model.inputs(BARE_ROWS)
        with steelyard(repository) as server:

            def ours() -> float:
                before = scheduled_s(server.worker_pid)
                h2load(server.port, body, REAL_REQUESTS, 4, 4)
                return (scheduled_s(server.worker_pid) - before) / REAL_REQUESTS

            def reference() -> float:
                began = time.process_time()
                for _ in range(REAL_REQUESTS // BARE_ROWS):
                    run(None, inputs)
                return (time.process_time() - began) / REAL_REQUESTS

            yield Sides(ours, reference)
            _all_answered(server, model.name)


@dataclass(frozen=True, slots=True)
class Asked:
    """A process that answers on a port."""

    port: int
    pid: int


@contextlib.contextmanager
def _tiny(other_server: str | None) -> Iterator[tuple[Asked, Asked, Path]]:
    """What is measured, the sketch, and the request; all of the server's answers were good, or RuntimeError."""
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        body = Path(temporary) / "tiny.body"
        body.write_bytes(framed(tiny_request()))
        sketch = Asked(*stack.enter_context(ceiling_process("http2")))
        if other_server is not None:
            yield Asked(*stack.enter_context(ceiling_process(other_server))), sketch, body
            return
        repository = Path(temporary) / "models"
        save_tiny(repository)
        server = stack.enter_context(steelyard(repository))
        yield Asked(server.port, server.worker_pid), sketch, body
        _all_answered(server, "tiny")


def _all_answered(server: Served, model: str) -> None:
    asked = server.metric("steelyard_requests_total", model=model)
    answered = server.metric("steelyard_requests_total", model=model, outcome="answered")
    if answered != asked or not asked:
        raise RuntimeError(f"{model}: {asked:.0f} requests were counted, and {answered:.0f} good answers")


SERVED = (
    Gate("front", "tiny served, 64 in flight: CPU of a sketch ÷ ours", many_in_flight, ROUNDS),
    Gate("lone", "tiny served, one in flight: p50 of a sketch ÷ ours", one_in_flight, ROUNDS),
    Gate("real", "a real model: CPU of bare ONNX Runtime ÷ served", real_model),
)
