"""The worker process: the request path and nothing heavy. Run as `python -m steelyard.supervisor.worker FD FD`."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import uvloop

from steelyard._native.journal import Ring
from steelyard._native.observe import Segment
from steelyard.clock import SystemClock
from steelyard.config import Settings
from steelyard.errors import SteelyardError
from steelyard.evidence.journal import Journal
from steelyard.fronts.http2.front import NOTICE_S, Http2Front
from steelyard.fronts.tls import ServedTls
from steelyard.models.names import parse_version
from steelyard.observe.logs import configure_logs, log
from steelyard.observe.segment import SegmentReader
from steelyard.runtime.threads import thread_budget
from steelyard.scheduling.scheduler import Scheduler
from steelyard.serving import reflection, streams
from steelyard.serving.canary import Canaries
from steelyard.serving.capturing import Captures
from steelyard.serving.catalog import Catalog
from steelyard.serving.control import Control
from steelyard.serving.cost_keeping import CostKeeping
from steelyard.serving.costs import Costs
from steelyard.serving.engine import Engine
from steelyard.serving.golden_rounds import GoldenRounds
from steelyard.serving.golden_turns import Place
from steelyard.serving.health import Health
from steelyard.serving.held import HeldAnswers
from steelyard.serving.ledger import RequestLog
from steelyard.serving.lifecycle import Lifecycle, Phase
from steelyard.serving.loader import Loader
from steelyard.serving.loading import Environment
from steelyard.serving.methods import Methods
from steelyard.serving.recording import Recording, on_loop, tell_log
from steelyard.serving.reports import Reports
from steelyard.serving.taps import Taps
from steelyard.serving.verdicts import Verdicts
from steelyard.supervisor.channel import EXIT_REFUSED, Channel
from steelyard.supervisor.front import keep_current, make_front, stand_in, start_front
from steelyard.supervisor.listeners import Handed
from steelyard.supervisor.orders import Orders
from steelyard.supervisor.spreading import SpreadRepository

# For the last refusals, and for calls where the drain has taken all of its time.
LAST_S = 1.0
# What was captured and waits for a disk that answers is on it long before.
CAPTURE_END_S = 2.0


def _log_request(
    decision_id: str, model: str | None, version: str | None, error: SteelyardError | None, total_ns: int
) -> None:
    log(
        "request",
        decision_id=decision_id,
        model=model,
        version=(parse_version(version) or version or None) if version is not None else None,
        error=str(error) if error else None,
        total_ms=round(total_ns / 1e6, 3),
    )


async def serve(control: socket.socket, segment_fd: int) -> int:
    """Serves until the supervisor says stop, or is gone; returns the exit status."""
    channel = await Channel.open(control)
    first = await channel.receive()
    if first is None:
        return 0
    settings = Settings.model_validate_json(first["settings"])
    configure_logs(f"worker-{first['worker']}", settings.log_level, settings.log_format)
    loop = asyncio.get_running_loop()
    clock = SystemClock()
    threads = settings.threads or thread_budget()
    lifecycle = Lifecycle()
    catalog = Catalog()
    segment = Segment(segment_fd, os.getpid(), clock.unix_ns())
    inline_below_ns = settings.inline_threshold_us * 1000
    scheduler = Scheduler(threads, settings.max_queue_bytes, inline_below_ns)
    request_log: RequestLog | None = _log_request if settings.log_requests else None
    ring = Ring(segment.memory)
    recording = Recording(ring, clock)
    engine = Engine(
        loop,
        clock,
        catalog,
        scheduler,
        segment.unknown,
        request_log,
        settings.max_message_bytes,
        recording=recording,
    )
    journal: Journal | None = None
    costs = Costs(settings.data / "costs", first["worker"], settings.workers)
    verdicts = Verdicts(settings.data / "verdicts")
    keeping = CostKeeping(catalog, costs)
    loader = Loader(
        settings.repository,
        catalog,
        segment,
        Environment(
            threads, settings.profile, verdicts, inline_below_ns, costs, clock, settings.model_signers
        ),
        settings.load_threads or threads,
        frozenset(first["kept_out"]),
        lambda names: channel.send({"kept_out": sorted(names)}),
        lambda moves: orders.tell_followed(moves),
    )
    # Before the taps: what is captured of a version is one of its taps.
    captures = Captures(catalog, settings.data, f"worker-{first['worker']}", clock)
    taps = Taps(catalog)
    canaries = Canaries(catalog, clock, first["worker"], settings.workers)
    orders = Orders(loader, canaries, taps, captures, channel)
    Reports(loop, catalog, lambda reports: channel.send({"versions": reports}))
    orders.begin(first["directives"])

    def tell_examined(model: str, again: bool) -> None:
        channel.send({"examined": model, "again": again})

    place = Place(first["worker"], settings.workers)
    rounds = GoldenRounds(engine, catalog, clock, place, tell_examined)
    repository = SpreadRepository(channel, loader)
    methods = Methods()
    others = [SegmentReader(fd) for fd in first["segments"]]
    catalog.fails_elsewhere = lambda version: any(
        other.golden_failing(version.model, version.name) for other in others
    )
    Control(catalog, loader, lifecycle, SegmentReader(segment_fd), others, repository).register(methods)
    Health(catalog, lifecycle).register(methods)
    streams.register(methods, engine, settings.max_message_bytes)
    if settings.reflection:
        reflection.register(methods)
    front = make_front(settings, methods, engine)
    tls: ServedTls | None = None

    async def look_after(away: Sequence[int]) -> None:
        if isinstance(front, Http2Front) and lifecycle.phase is Phase.READY:
            everybodys = {
                worker: [Handed.from_json(one) for one in handed]
                for worker, handed in enumerate(first["others"])
            }
            # No descriptor is left: who is here goes before who would come.
            try:
                await stand_in(front, tls, {worker: everybodys[worker] for worker in away})
            except OSError as error:
                log("worker.not_standing_in", level=logging.ERROR, away=list(away), reason=str(error))

    def look(model: str | None, again: bool) -> None:
        if model is None:
            catalog.announce_examined()
            return
        catalog.announce(model)
        if again:
            rounds.look(model)

    said = Said()
    stop = said.stop
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    background: set[asyncio.Task[Any]] = {
        loop.create_task(_obey(channel, orders, repository, said, look_after, look))
    }

    async def begin() -> ServedTls | None:
        return await start_front(front, settings, [Handed.from_json(one) for one in first["listeners"]])

    async def drain(within_s: float) -> float:
        """Answers what was accepted; returns what is left of `within_s` seconds."""
        if isinstance(front, Http2Front):
            # Else those who are connected would go on asking, to be refused.
            await front.leave(min(NOTICE_S, within_s))
        until_s = loop.time() + within_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(engine.drain(), within_s)
        return max(0.0, until_s - loop.time())

    async def end(calls_s: float, last_s: float) -> None:
        """calls_s: for calls that are open, last_s: for who came since everybody was told to leave."""
        lifecycle.move(Phase.STOPPED)
        if isinstance(front, Http2Front):
            await front.left(calls_s)
            await front.stop(last_s)
        else:
            await front.stop(max(calls_s, last_s))
        orders.tell_counts_now()
        for task in background:
            task.cancel()
        await keeping.keep(1)
        taps.close()
        # Before the journal, which is told of what was captured.
        await asyncio.to_thread(captures.close, CAPTURE_END_S)
        if journal is not None:
            await asyncio.to_thread(journal.close)
        engine.close(wait=not engine.in_flight)
        rounds.close()
        loader.close()
        await channel.close()

    try:
        journal = Journal(
            settings.data / "journal" / f"worker-{first['worker']}",
            first["worker"],
            ring,
            clock,
            settings.journal_segment_bytes,
            settings.journal_segment_age_s,
            settings.journal_commit_interval_ms / 1000,
            on_loop(loop, recording),
            tell_log,
        )
        recording.begin(journal, HeldAnswers(loop, clock, engine.tell_recorded, engine.tell_late))
        captures.note = journal.note
        tls = None if first["late"] else await begin()
        await _unless(stop, loader.load_all())
        # What it was told meanwhile is in force when it says that it has loaded.
        await _unless(stop, orders.carried_out())
        channel.send({"loaded": True})
        await _unless(stop, said.accept.wait())
        if first["late"] and not stop.is_set():
            tls = await begin()
    except SteelyardError as error:
        channel.send({"refused": str(error)})
        await end(0.0, 0.0)
        return EXIT_REFUSED
    # What loading left behind lives long: the collector need not walk through it again and again. A version that is
    # replaced is freed all the same, since nothing of it refers back to itself once it is released.
    gc.collect()
    gc.freeze()
    if not stop.is_set():
        lifecycle.move(Phase.READY)
        channel.send({"ready": True})
        background.add(loop.create_task(rounds.run()))
        background.add(loop.create_task(orders.tell_counts()))
        background.add(loop.create_task(keeping.run()))
        if tls is not None:
            background.add(
                loop.create_task(keep_current(tls, lambda taken: channel.send({"tls_taken": taken})))
            )
        if settings.poll_interval_s:
            background.add(loop.create_task(loader.watch(settings.poll_interval_s)))
    await _unless(stop, said.leave.wait())
    drain_s = settings.drain_timeout_s
    if not stop.is_set() and isinstance(front, Http2Front):
        lifecycle.move(Phase.LEAVING)
        log("worker.leaving", in_flight=engine.in_flight)
        await _unless(stop, front.hand_over(drain_s))
        if not stop.is_set():
            # Every call has ended, or had its time.
            drain_s = LAST_S
    else:
        await stop.wait()
    lifecycle.move(Phase.DRAINING)
    log("worker.draining", in_flight=engine.in_flight)
    await end(await drain(drain_s), LAST_S)
    return 0


class Said:
    """What the supervisor has said, or what its end says: accept callers; leave, as another takes the place; stop."""

    def __init__(self) -> None:
        self.accept = asyncio.Event()
        self.leave = asyncio.Event()
        self.stop = asyncio.Event()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Any]) -> None:
    """Does `work`, and gives it up where the worker is told to stop meanwhile. Raises what `work` raises."""
    doing = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if doing.done():
        doing.result()
    else:
        doing.cancel()


async def _obey(
    channel: Channel,
    orders: Orders,
    repository: SpreadRepository,
    said: Said,
    look_after: Callable[[Sequence[int]], Awaitable[None]],
    look: Callable[[str | None, bool], None],
) -> None:
    """Does what the supervisor says, until it says stop or is gone: a worker never outlives its supervisor."""
    try:
        async for message in channel:
            if message.get("stop"):
                break
            if message.get("accept"):
                said.accept.set()
            elif message.get("leave"):
                said.leave.set()
            elif "away" in message:
                await look_after(message["away"])
            elif "look" in message:
                look(message["look"], message["again"])
            elif "spread" in message:
                repository.answered(message)
            else:
                orders.obey(message)
    finally:
        said.stop.set()


def main() -> int:
    """Takes the file descriptors of the control socket and of the shared segment as arguments."""
    # The supervisor decides when to stop; what a terminal says reaches the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What was imported lives for ever: no collection need walk through it.
    gc.freeze()
    control = socket.socket(fileno=int(sys.argv[1]))
    return uvloop.run(serve(control, int(sys.argv[2])))


if __name__ == "__main__":
    sys.exit(main())
