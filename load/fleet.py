"""The processes that send a load: started together, begun at one moment, and gathered."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
import uvloop

from load.job import Glimpse, Job, Part
from load.sender import Sender
from steelyard.errors import SteelyardError, Unavailable

# From the word to begin to the first moment at which a request can be due; all processes have heard it by then.
HEAD_START_NS = 50_000_000
READY_TIMEOUT_S = 120.0

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a load: arrays as in `Part`, over all processes, in the order in which requests were due."""

    start_ns: int
    """On the system's monotonic clock: what `due_ns` counts from."""
    due_ns: Array
    sent_ns: Array
    ended_ns: Array
    code: Array
    cpu_share: tuple[float, ...]
    """Of one processor, by process."""
    reconnects: int


def send(
    jobs: list[Job],
    begin: Callable[[], None] | None = None,
    tell: Callable[[list[Glimpse | None]], None] | None = None,
) -> Sent:
    """Sends a load in as many processes as there are jobs, which share its requests in turn.

    begin: called when all are connected and warm, before the first request. tell: called with the last glimpse of each.
    Raises Unavailable where a process cannot reach the server, or ends before its time.
    """
    context = multiprocessing.get_context("spawn")
    processes, pipes = [], []
    try:
        for job in jobs:
            ours, theirs = context.Pipe()
            process = context.Process(target=_process, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
            ours.send(job)
        for pipe in pipes:
            if not pipe.poll(READY_TIMEOUT_S):
                raise Unavailable(f"a process that sends was not ready after {READY_TIMEOUT_S:.0f} s")
            _heard(pipe)
        if begin is not None:
            begin()
        start_ns = time.monotonic_ns() + HEAD_START_NS
        for pipe in pipes:
            pipe.send(start_ns)
        parts = _gather(pipes, tell)
        for process in processes:
            process.join(READY_TIMEOUT_S)
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
            process.join()
        for pipe in pipes:
            pipe.close()
    return _joined(start_ns, jobs, parts)


def _gather(pipes: list[Any], tell: Callable[[list[Glimpse | None]], None] | None) -> list[Part]:
    parts: list[Part | None] = [None] * len(pipes)
    glimpses: list[Glimpse | None] = [None] * len(pipes)
    while None in parts:
        for pipe in wait([pipe for pipe, part in zip(pipes, parts, strict=True) if part is None]):
            place = pipes.index(pipe)
            heard = _heard(pipe)
            if isinstance(heard, Part):
                parts[place] = heard
            else:
                glimpses[place] = heard
                if tell is not None:
                    tell(list(glimpses))
                    glimpses[place] = Glimpse(
                        heard.sent, heard.answered, heard.failed, heard.in_flight, np.zeros(0, np.int64)
                    )
    return [part for part in parts if part is not None]


def _heard(pipe: Any) -> Any:
    try:
        heard = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise Unavailable("a process that sends has ended before its time") from None
    if isinstance(heard, SteelyardError):
        raise heard
    return heard


def _joined(start_ns: int, jobs: list[Job], parts: list[Part]) -> Sent:
    count = sum(len(job.due_ns) for job in jobs)
    arrays = [np.zeros(count, np.int64) for _ in range(3)]
    code = np.zeros(count, np.uint8)
    for place, (job, part) in enumerate(zip(jobs, parts, strict=True)):
        own = slice(place, None, len(jobs))
        for whole, values in zip(arrays, (job.due_ns, part.sent_ns, part.ended_ns), strict=True):
            whole[own] = values
        code[own] = part.code
    shares = tuple(part.cpu_s / part.seconds if part.seconds else 0.0 for part in parts)
    return Sent(
        start_ns, arrays[0] + start_ns, arrays[1], arrays[2], code, shares, sum(p.reconnects for p in parts)
    )


def _process(pipe: "Connection[Any, Any]") -> None:
    """What each process does."""
    # Ctrl-C is for the one that has started this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job: Job = pipe.recv()
        uvloop.run(_send(job, pipe))
    except SteelyardError as error:
        pipe.send(error)
    except (EOFError, BrokenPipeError):
        # Nobody wants it any more.
        pass


async def _send(job: Job, pipe: "Connection[Any, Any]") -> None:
    sender = Sender(job, pipe.send)
    await sender.prepare()
    pipe.send("ready")
    part = await sender.run(pipe.recv())
    pipe.send(part)
    sender.close()
