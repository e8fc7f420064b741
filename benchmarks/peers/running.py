"""A peer's process, from its start to its end, and whether what it answers is right."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from benchmarks.peers.peer import Peer, Spoken, Start
from steelyard.wire.generated.grpc_service import ModelInferResponse

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 40.0
TOLERANCE = 1e-5


class NotServing(Exception):
    """A peer that did not come up, or answers something else than the model does, and what it said."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One good answer, by which others are known."""

    scores: tuple[float, ...]
    body_bytes: int
    """What h2load counts as data of an answer: the message with its prefix, or the body."""


@contextlib.contextmanager
def running(peer: Peer, python: Path, model: Path) -> Iterator[int]:
    """The port of a peer that has been started; it and every process of its session are ended at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        directory = Path(temporary)
        ports = _free_ports()
        start = Start(python, model.absolute(), directory, ports)
        # A peer knows nothing of this project's own packages.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if not peer.requirements:
            environment = dict(os.environ)
        environment |= {**peer.environment, "MODEL": str(start.model)}
        log = directory / "peer.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                list(peer.command(start)),
                cwd=directory if peer.requirements else None,
                env=environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            _wait_listening(process, ports[0], log)
            yield ports[0]
        finally:
            _end(process)


def _free_ports() -> tuple[int, int, int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        first, second, third = (listener.getsockname()[1] for listener in listeners)
        return first, second, third


def _wait_listening(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while True:
        if process.poll() is not None:
            raise NotServing(f"it ended with {process.returncode}: {_said(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise NotServing(f"no port after {START_TIMEOUT_S:.0f} s: {_said(log)}") from None
            time.sleep(0.1)


def _said(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:])[-400:]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """By SIGTERM, and after a while by SIGKILL, for what it started as well: all of it is one session's group."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_TIMEOUT_S)


def first_answer(peer: Peer, port: int, body: bytes, right: Sequence[float]) -> Answer:
    """Asks until it is answered; raises NotServing where that takes too long or the scores are not `right`."""
    end = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            answer = _ask(peer, port, body)
            break
        except (OSError, grpc.RpcError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() > end:
                raise NotServing(f"no answer after {START_TIMEOUT_S:.0f} s: {error}") from None
            time.sleep(0.2)
    if len(answer.scores) != len(right) or not np.allclose(answer.scores, right, atol=TOLERANCE):
        raise NotServing(f"expected {list(right)}, came {list(answer.scores)}")
    return answer


def _ask(peer: Peer, port: int, body: bytes) -> Answer:
    if peer.spoken is Spoken.GRPC:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            # The body has gRPC's prefix already, which the library adds of its own.
            message: bytes = channel.unary_unary(f"/{peer.path}")(body[5:], timeout=10)
        response = ModelInferResponse.FromString(message)
        return Answer(_scores(response), len(message) + 5)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", f"/{peer.path}", body, {"content-type": "application/json"})
        said = connection.getresponse()
        text = said.read()
    finally:
        connection.close()
    if said.status != 200:
        raise ValueError(f"HTTP {said.status}: {text[:200]!r}")
    found = json.loads(text)
    rows = found["y"] if isinstance(found, dict) else found
    return Answer(tuple(rows[0]), len(text))


def _scores(response: ModelInferResponse) -> tuple[float, ...]:
    if response.raw_output_contents:
        return tuple(np.frombuffer(response.raw_output_contents[0], np.float32).tolist())
    return tuple(response.outputs[0].contents.fp32_contents)
