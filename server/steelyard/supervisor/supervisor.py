"""The supervisor: owns the data directory, the ports and the workers, and ends when it is told to."""

import contextlib
import gc
import os
from collections.abc import Callable
from importlib import metadata

from steelyard.clock import SystemClock
from steelyard.config import Settings
from steelyard.errors import ConfigError
from steelyard.models.root import read_root
from steelyard.observe.logs import configure_logs
from steelyard.runtime.devices import installed_distributions, refuse_both_distributions
from steelyard.supervisor.datadir import DataDirectory, RunningServer
from steelyard.supervisor.listeners import Listeners
from steelyard.supervisor.listening import listen
from steelyard.supervisor.workers import Workers

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
    read_root(settings.repository)
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
        workers = Workers(settings, listeners.handed_to)
        held.callback(workers.close)
        try:
            await workers.spawn()
            # What only the supervisor needs takes as long to import as what the workers need. Both is done at a time:
            # first what knows what the workers are told, then the rest while they load. Nothing of it is given back
            # before the end, and to look for what could be would take a tenth of the time.
            gc.disable()
            from steelyard.supervisor.rollouts import Rollouts

            rollouts = Rollouts(settings, SystemClock(), workers)
            workers.tell()
            from steelyard.supervisor.duties import attend

            gc.freeze()
            gc.enable()
            await attend(settings, runtime, data, workers, rollouts, http_listener, announced, when_ready)
        finally:
            workers.kill()
            await workers.stop()
