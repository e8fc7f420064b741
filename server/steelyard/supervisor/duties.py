"""What the supervisor does beside its workers: admin, metrics, what is rolled out, and the signals that end it."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable

from steelyard.clock import SystemClock
from steelyard.config import Settings
from steelyard.errors import ConfigError
from steelyard.fronts.http import HttpFront
from steelyard.observe.collector import metrics_registry
from steelyard.observe.logs import log
from steelyard.supervisor.admin import AdminSocket
from steelyard.supervisor.datadir import DataDirectory, RunningServer
from steelyard.supervisor.expiry import Expiry
from steelyard.supervisor.governance_metrics import GovernanceCollector
from steelyard.supervisor.housekeeper import Housekeeper
from steelyard.supervisor.payload_metrics import PayloadMetrics
from steelyard.supervisor.rollout_metrics import RolloutCollector
from steelyard.supervisor.rollouts import Rollouts
from steelyard.supervisor.transparency import Transparency
from steelyard.supervisor.transparency_metrics import TransparencyCollector
from steelyard.supervisor.workers import Workers
from steelyard.supervisor.workers_admin import WorkersAdmin


async def attend(
    settings: Settings,
    runtime: str,
    data: DataDirectory,
    workers: Workers,
    rollouts: Rollouts,
    http_listener: socket.socket,
    announced: RunningServer,
    when_ready: Callable[[RunningServer], None] | None,
) -> None:
    """Does it while the workers, which are spawned already, run; returns when the server has stopped.

    Raises a `SteelyardError` where a worker refuses to begin, or what the data directory holds cannot be read.
    """
    loop = asyncio.get_running_loop()
    was_ready = False
    housekeeper = Housekeeper(settings, lambda: workers.around.segments, Expiry(rollouts.record).expire)
    keeping: asyncio.Task[None] | None = None

    def changed() -> None:
        nonlocal was_ready, keeping
        if workers.is_ready and not was_ready:
            # Not before: what it imports would compete with workers that start.
            if keeping is None:
                keeping = loop.create_task(housekeeper.run())
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

    transparency = Transparency(settings, SystemClock(), rollouts.record.events)
    rollouts.record.heard.append(lambda event: transparency.wake())
    workers.around.changed = changed
    WorkersAdmin(workers).register(rollouts.methods)
    admin = AdminSocket(settings.data, rollouts.methods)
    registry = metrics_registry(workers.views, runtime)
    registry.register(RolloutCollector(rollouts.record, rollouts.canaries, rollouts.shadows))
    registry.register(GovernanceCollector(rollouts.record, rollouts.webhook))
    registry.register(PayloadMetrics(rollouts.payloads))
    registry.register(TransparencyCollector(transparency, settings.data, SystemClock()))
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
        logging_events = asyncio.ensure_future(transparency.run())
        running = asyncio.ensure_future(workers.run())
        stop_wait = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({running, stop_wait}, return_when=asyncio.FIRST_COMPLETED)
        stop_wait.cancel()
        logging_events.cancel()
        log("server.stopping")
        rollouts.rest()
        await workers.stop()
        await running
        await housekeeper.stop()
        if workers.refusal is not None:
            raise ConfigError(workers.refusal)
        log("server.stopped")
    finally:
        workers.kill()
        housekeeper.kill()
        await rollouts.close()
        await admin.stop()
        await http.stop()
        transparency.close()
        rollouts.close_log()
