"""The supervisor: owns the data directory, the ports and the workers, and ends when it is told to."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib import metadata

from steelyard.clock import SystemClock
from steelyard.config import Settings
from steelyard.errors import ConfigError
from steelyard.fronts.http import HttpFront
from steelyard.models.repository import scan
from steelyard.observe.collector import metrics_registry
from steelyard.observe.logs import configure_logs, log
from steelyard.runtime.devices import installed_distributions, refuse_both_distributions
from steelyard.supervisor.admin import AdminSocket
from steelyard.supervisor.datadir import DataDirectory, RunningServer
from steelyard.supervisor.listeners import Listeners
from steelyard.supervisor.listening import listen
from steelyard.supervisor.rollouts import Rollouts
from steelyard.supervisor.workers import Workers
from steelyard.supervisor.workers_admin import WorkersAdmin

Started = Callable[[RunningServer], None]


def runtime_version() -> str:
    """Which ONNX Runtime the workers will use. Raises `ConfigError` where there is none, or two."""
    installed = installed_distributions()
    refuse_both_distributions(installed)
    if not installed:
        raise ConfigError("ONNX Runtime is not installed: pip install 'steelyard[cpu]' or 'steelyard[gpu]'")
    return f"{installed[0]} {metadata.version(installed[0])}"


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
    with contextlib.ExitStack() as held:
        data = held.enter_context(contextlib.closing(DataDirectory(settings.data)))
        listeners = held.enter_context(contextlib.closing(Listeners(settings)))
        http_listener, http_address = listen("http_address", settings.http_address)
        held.callback(http_listener.close)
        announced = RunningServer(
            os.getpid(),
            (listeners.plain or listeners.tls)[0],
            listeners.plain,
            listeners.tls,
            str(http_address),
            str(settings.repository),
        )
        await _run(settings, runtime, data, listeners, http_listener, announced, when_ready)


async def _run(
    settings: Settings,
    runtime: str,
    data: DataDirectory,
    listeners: Listeners,
    http_listener: socket.socket,
    announced: RunningServer,
    when_ready: Started | None,
) -> None:
    loop = asyncio.get_running_loop()
    was_ready = False

    def changed() -> None:
        nonlocal was_ready
        if workers.is_ready and not was_ready:
            log(
                "server.ready",
                grpc=announced.grpc_addresses,
                grpc_tls=announced.grpc_tls_addresses,
                http=announced.http_address,
                worker=workers.pids[0],
                workers=len(workers.pids),
            )
            if when_ready is not None:
                when_ready(announced)
        was_ready = workers.is_ready
        workers.stand_in()
        if was_ready:
            rollouts.worker_is_ready()

    def is_ready() -> bool:
        return workers.is_ready and not stopping.is_set()

    workers = Workers(settings, listeners.handed_to)
    rollouts = Rollouts(settings, SystemClock(), workers)
    workers.around.changed = changed
    WorkersAdmin(workers).register(rollouts.methods)
    admin = AdminSocket(settings.data, rollouts.methods)
    registry = metrics_registry(workers.views, runtime)
    for collector in rollouts.collectors:
        registry.register(collector)
    http = HttpFront(registry, is_ready)
    signals = 0
    stopping = asyncio.Event()

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        stopping.set()
        if signals > 1:
            workers.kill()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    # On a terminal it means that the terminal has gone, and the server goes with it.
    if not sys.stderr.isatty():
        loop.add_signal_handler(signal.SIGHUP, workers.restart_later, "SIGHUP")
    try:
        await http.start(http_listener)
        await admin.start()
        data.announce(announced)
        log("server.starting", repository=str(settings.repository), profile=settings.profile, runtime=runtime)
        rollouts.start()
        running = asyncio.ensure_future(workers.run())
        stop_wait = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({running, stop_wait}, return_when=asyncio.FIRST_COMPLETED)
        stop_wait.cancel()
        log("server.stopping")
        rollouts.rest()
        await workers.stop()
        await running
        if workers.refusal is not None:
            raise ConfigError(workers.refusal)
        log("server.stopped")
    finally:
        workers.kill()
        await rollouts.close()
        await admin.stop()
        await http.stop()
        rollouts.close_log()
        workers.close()
