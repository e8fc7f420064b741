"""Callers that go on asking beside a test, each over a connection of its own."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil

from steelyard import Client
from steelyard.errors import SteelyardError
from tests.support.asking import TIMEOUT_S, Array, Asker, request
from tests.support.server import Server
from tests.support.waiting import eventually

# Between two calls: what is tested needs the processors as well.
PAUSE_S = 0.003


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: the version that answered, or the error."""

    began_s: float
    ended_unix_ms: int
    version: str
    problem: str = ""
    unavailable: bool = False


class Callers:
    """Threads that ask a model, from entering to leaving the context: so many through grpcio at each of the
    addresses, and one through our own client at the first."""

    def __init__(
        self,
        model: str,
        inputs: Mapping[str, Array],
        *addresses: str,
        roots: Path | None = None,
        each: int = 3,
    ) -> None:
        """roots: the authorities to trust at the last address, which speaks TLS then."""
        self.ended: list[Ended] = []
        self._model, self._inputs = model, inputs
        self._over = threading.Event()
        tasks: list[tuple[Callable[..., None], tuple[Any, ...]]] = [(self._ask_ours, (addresses[0],))]
        for address in addresses:
            papers = roots if address == addresses[-1] else None
            tasks += [(self._ask_grpcio, (address, papers))] * each
        self._threads = [threading.Thread(target=work, args=args, daemon=True) for work, args in tasks]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def __len__(self) -> int:
        return len(self._threads)

    @property
    def failures(self) -> list[Ended]:
        """Calls that got no answer."""
        return [one for one in self.ended if one.problem]

    def go_on(self, calls: int = 50) -> None:
        """Waits until so many more calls have ended."""
        before = len(self.ended)
        eventually(lambda: len(self.ended) >= before + calls)

    def _ask_grpcio(self, address: str, roots: Path | None) -> None:
        message = request(self._model, self._inputs)
        with Asker(address, roots) as asker:
            while not self._over.wait(PAUSE_S):
                began_s = time.monotonic()
                try:
                    answer = asker.call("ModelInfer", message)
                except grpc.RpcError as error:
                    unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
                    self._note(began_s, "", f"grpcio {address}: {error!r}", unavailable)
                else:
                    self._note(began_s, answer.model_version)

    def _ask_ours(self, address: str) -> None:
        with Client(address, timeout_s=TIMEOUT_S) as client:
            while not self._over.wait(PAUSE_S):
                began_s = time.monotonic()
                try:
                    answer = client.infer(self._model, self._inputs)
                except SteelyardError as error:
                    unavailable = type(error).__name__ == "Unavailable"
                    self._note(began_s, "", f"own {address}: {error!r}", unavailable)
                else:
                    self._note(began_s, answer.version)

    def _note(self, began_s: float, *how: Any) -> None:
        self.ended.append(Ended(began_s, time.time_ns() // 1_000_000, *how))


def worker_pids(server: Server, lives: int = 2) -> dict[int, int]:
    """The process of each worker that was last said to be ready, when so many have been."""

    def ready() -> list[dict[str, Any]]:
        # The log is written on a thread of its own, a moment after.
        found = server.events("worker.ready")
        return found if len(found) >= lives else []

    return {int(event["worker"]): int(event["pid"]) for event in eventually(ready)}


def peers_of(pid: int) -> set[int]:
    """The ports of the callers that are connected to a process."""
    found: list[Any] = psutil.Process(pid).net_connections("tcp")
    return {one.raddr.port for one in found if one.status == psutil.CONN_ESTABLISHED}


def asker_of(server: Server, pid: int) -> Asker:
    """A channel whose connection is the process's; others are made and closed until there is one."""
    while True:
        before = peers_of(pid)
        asker = Asker(server.address)
        asker.call("ServerLive")
        if peers_of(pid) - before:
            return asker
        asker.channel.close()
