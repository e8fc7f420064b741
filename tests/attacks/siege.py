"""What is watched while a server is attacked: its memory, its process, and a caller who only wants answers."""

import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np
import psutil

from tests.support.asking import Asker
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

MB = 1 << 20

# The machine that runs the tests is the attacker's as well as the server's; what is meant is "goes on", not "is fast".
P99_S = 3.0

# Enough that a p99 means something, also where the attack itself was over in a moment.
MIN_CALLS = 100

# What the server's log says of faults of ours, where Python or a handler says so.
FAULTS = ("Traceback", "Exception ignored", "call.fault", "connection.fault")

# Of a processor: bombs whose callers went away are inflated to their end, and hold what comes out until then.
RESTING_PERCENT = 20
RESTING_S = 0.2


class Bystander:
    """A caller on its own connection, one call after the other."""

    def __init__(self, address: str) -> None:
        self._asker = Asker(address)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.took_s: list[float] = []
        self.failure: Exception | None = None

    def begin(self) -> None:
        self._ask()
        self._thread.start()

    def end(self) -> None:
        eventually(lambda: len(self.took_s) >= MIN_CALLS or self.failure)
        self._stop.set()
        self._thread.join()
        self._asker.channel.close()

    def p99_s(self) -> float:
        return sorted(self.took_s)[int(len(self.took_s) * 0.99)]

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                begun = time.perf_counter()
                self._ask()
                self.took_s.append(time.perf_counter() - begun)
                # Not so often that the attackers beside it come to nothing.
                self._stop.wait(0.001 if len(self.took_s) < MIN_CALLS else 0.02)
        except Exception as failure:
            self.failure = failure

    def _ask(self) -> None:
        x = np.array([[1, 2, 3, 4]], np.float32)
        np.testing.assert_array_equal(self._asker.infer("double", {"x": x})["y"], 2 * x)


class Memory:
    """The resident bytes of a process: before, and the most since."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.before = self.peak = self.now()

    def now(self) -> int:
        found: int = self._process.memory_info().rss
        return found

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.peak = max(self.peak, self.now())


class Siege:
    """A server under attack, whose log is read after it."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.address = server.address
        self._name = name

    def ended(self, model: str) -> float:
        """Requests to a model that have ended so far, however they did."""
        return metrics(self.server, model=model)["steelyard_requests_total"]

    def _rested(self, worker: int) -> None:
        """Waits until the server has done what the attack before this one left it to do, and has let go of it."""
        process = psutil.Process(worker)
        eventually(lambda: process.cpu_percent(RESTING_S) < RESTING_PERCENT)

    @contextlib.contextmanager
    def hold(self, growth_mb: int) -> Iterator[None]:
        """While this is open the server is attacked; it may grow by so much, and must answer another caller."""
        worker = self.server.worker_pid()
        self._rested(worker)
        bystander, memory = Bystander(self.address), Memory(worker)
        said = len(self.server.output())
        bystander.begin()
        memory.begin()
        try:
            yield
        finally:
            bystander.end()
            memory.end()
        peak_mb = (memory.peak - memory.before) / MB
        print(
            f"\n{self._name}: {len(bystander.took_s)} calls of another, p99 {bystander.p99_s() * 1e3:.1f} ms; "
            f"memory {memory.before / MB:.0f} MB before, +{peak_mb:.0f} at most, "
            f"{(memory.now() - memory.before) / MB:+.0f} after"
        )
        assert bystander.failure is None
        assert self.server.worker_pid() == worker
        assert bystander.p99_s() < P99_S
        found = [
            line for line in self.server.output()[said:].splitlines() if any(word in line for word in FAULTS)
        ]
        assert not found
        assert peak_mb < growth_mb
