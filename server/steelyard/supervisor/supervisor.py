"""The supervisor: owns the data directory, the ports and the worker, and ends when it is told to."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from steelyard.clock import Clock, SystemClock
from steelyard.config import Settings
from steelyard.errors import ConfigError
from steelyard.evidence.log import EventLog
from steelyard.fronts.http import HttpFront
from steelyard.models.repository import scan
from steelyard.observe.collector import metrics_registry
from steelyard.observe.logs import configure_logs, log
from steelyard.observe.segment import SlotCounts
from steelyard.runtime.devices import installed_distributions, refuse_both_distributions
from steelyard.serving.methods import Methods
from steelyard.supervisor.admin import Admin, AdminSocket
from steelyard.supervisor.calibrations import Calibrations
from steelyard.supervisor.canaries import Canaries
from steelyard.supervisor.checkpoint import Checkpoints
from steelyard.supervisor.datadir import DataDirectory, RunningServer
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.drills import Drills
from steelyard.supervisor.label_moves import LabelMoves
from steelyard.supervisor.listening import ReservedPort, listen
from steelyard.supervisor.process import WorkerProcess
from steelyard.supervisor.record import Record
from steelyard.supervisor.rollout_metrics import RolloutCollector
from steelyard.supervisor.shadow_targets import ShadowTargets
from steelyard.supervisor.shadows import Shadows
from steelyard.supervisor.trials_admin import TrialsAdmin

Started = Callable[[RunningServer], None]


def runtime_version() -> str:
    """Which ONNX Runtime the workers will use. Raises `ConfigError` where there is none, or two."""
    installed = installed_distributions()
    refuse_both_distributions(installed)
    if not installed:
        raise ConfigError("ONNX Runtime is not installed: pip install 'steelyard[cpu]' or 'steelyard[gpu]'")
    return f"{installed[0]} {metadata.version(installed[0])}"


def open_events(data: Path, clock: Clock) -> EventLog:
    """The data directory's event log; says what a server that was killed has left behind of a record."""
    events = EventLog(data, clock)
    if events.torn_bytes:
        log("events.torn", level=logging.WARNING, path=str(events.path), bytes=events.torn_bytes)
    return events


async def supervise(settings: Settings, when_ready: Started | None = None) -> None:
    """Runs a server until SIGTERM or SIGINT; a second signal does not wait for what is in flight.

    Raises a `SteelyardError` where the server cannot start: the repository cannot be read, a port is in use, another
    server has the data directory.
    """
    runtime = runtime_version()
    configure_logs("supervisor", settings.log_level, settings.log_format)
    scan(settings.repository)
    settings = settings.model_copy(
        update={"repository": settings.repository.absolute(), "data": settings.data.absolute()}
    )
    grpc_port = ReservedPort("grpc_address", settings.grpc_address)
    http_listener, http_address = listen("http_address", settings.http_address)
    data = DataDirectory(settings.data)
    loop = asyncio.get_running_loop()
    announced = RunningServer(
        os.getpid(), str(grpc_port.address), str(http_address), str(settings.repository)
    )

    def changed() -> None:
        if worker.ready:
            log("server.ready", grpc=announced.grpc_address, http=announced.http_address, worker=worker.pid)
            directing.start(shadows.resume())
            directing.start(canaries.end_strays())
            if when_ready is not None:
                when_ready(announced)

    def is_ready() -> bool:
        return worker.ready and not stopping.is_set()

    def counted(model: str, version: str) -> SlotCounts:
        return worker.view().reader.snapshot().slot(model, version)

    def told(message: Mapping[str, Any]) -> None:
        if "followed" in message:
            moves.followed(message["followed"])
        if "arms" in message:
            canaries.counted(message["arms"])
        if "taps" in message:
            shadows.counted(message["taps"])

    clock = SystemClock()
    events = open_events(settings.data, clock)
    record = Record(events, settings.repository, clock)
    directing = Directing(record, lambda: [worker])
    moves = LabelMoves(record, directing)
    drills = Drills(record, directing, moves, clock, counted, lambda: worker.lives)
    checkpoints = Checkpoints(settings.data)
    canaries = Canaries(record, directing, moves, checkpoints)
    targets = ShadowTargets(settings)
    shadows = Shadows(record, directing, moves, checkpoints, targets)
    calibrations = Calibrations(record, directing, moves, targets)
    directing.split_of = canaries.split_of
    directing.taps_of = lambda model: [*shadows.taps_of(model), *calibrations.tap_of(model)]

    moves.ends = [canaries.ends, shadows.ends]
    directing.afterwards = [canaries.follow, shadows.follow]
    methods = Methods()
    Admin(record, moves, drills).register(methods)
    TrialsAdmin(canaries, shadows, calibrations).register(methods)
    admin = AdminSocket(settings.data, methods)
    worker = WorkerProcess(0, settings, grpc_port.address, changed, directing.all, told)
    registry = metrics_registry(lambda: [worker.view()], runtime)
    registry.register(RolloutCollector(record, canaries, shadows))
    http = HttpFront(registry, is_ready)
    signals = 0
    stopping = asyncio.Event()

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        stopping.set()
        if signals > 1:
            worker.kill()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await http.start(http_listener)
        await admin.start()
        data.announce(announced)
        log("server.starting", repository=str(settings.repository), profile=settings.profile, runtime=runtime)
        drilling = asyncio.ensure_future(drills.run())
        running = asyncio.ensure_future(worker.run())
        stop_wait = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({running, stop_wait}, return_when=asyncio.FIRST_COMPLETED)
        stop_wait.cancel()
        log("server.stopping")
        drilling.cancel()
        await worker.stop()
        await running
        if worker.refusal is not None:
            raise ConfigError(worker.refusal)
        log("server.stopped")
    finally:
        worker.kill()
        canaries.save()
        shadows.save()
        await shadows.close()
        directing.close()
        await admin.stop()
        await http.stop()
        grpc_port.close()
        http_listener.close()
        events.close()
        data.close()
        worker.close()
