"""Callers that go on asking beside a test, each over a connection of its own."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import psutil

from tests.support.asking import Array, Asker, request
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
    code: grpc.StatusCode | None = None
    message: str = ""


class Callers:
    """So many threads that ask a model, from entering to leaving the context."""

    def __init__(self, address: str, model: str, inputs: Mapping[str, Array], count: int) -> None:
        self.ended: list[Ended] = []
        self._address = address
        self._request = request(model, inputs)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        eventually(lambda: len(self.ended) > 2 * len(self._threads))
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def failures(self) -> list[Ended]:
        """Calls that got no answer."""
        return [one for one in self.ended if one.code is not None]

    def go_on(self, calls: int = 50) -> None:
        """Waits until so many more calls have ended."""
        before = len(self.ended)
        eventually(lambda: len(self.ended) >= before + calls)

    def _ask(self) -> None:
        with Asker(self._address) as asker:
            while not self._over.wait(PAUSE_S):
                began_s = time.monotonic()
                try:
                    answer = asker.call("ModelInfer", self._request)
                except grpc.RpcError as error:
                    self._note(began_s, "", error.code(), error.details() or "")
                else:
                    self._note(began_s, answer.model_version)

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
