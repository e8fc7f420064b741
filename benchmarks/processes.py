"""Processes under measurement: a server of ours, a fixed-bytes ceiling, and h2load as the client."""

import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 120.0
METHOD = "inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is up."""

    port: int
    http: str
    pid: int
    worker_pid: int
    ready_after_s: float
    data: Path
    tls_port: int = 0
    worker_pids: tuple[int, ...] = ()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry `labels`, read from the server itself."""
        with urllib.request.urlopen(f"http://{self.http}/metrics") as page:
            text = page.read().decode()
        total = 0.0
        for line in text.splitlines():
            match = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if match and all(f'{key}="{value}"' in (match.group(1) or "") for key, value in labels.items()):
                total += float(match.group(2))
        return total


def children(pid: int) -> list[int]:
    """The processes that `pid` has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def steelyard(repository: Path, *flags: str) -> Iterator[Served]:
    """`steelyard serve` on free ports of the loopback address, stopped at the end."""
    with tempfile.TemporaryDirectory() as data, open(Path(data) / "log", "w") as log:
        command = [sys.executable, "-m", "steelyard.cli.main", "serve", str(repository), "--data", data]
        command += ["--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", *flags]
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            server = json.loads(_wait_for(Path(data) / "server.json", process, Path(data) / "log"))
            http = server["http_address"]
            while not _is_ready(http):
                if process.poll() is not None or time.monotonic() - started > START_TIMEOUT_S:
                    raise RuntimeError((Path(data) / "log").read_text()[-2000:])
                time.sleep(0.02)
            ready_after_s = time.monotonic() - started
            port = int(server["grpc_address"].rpartition(":")[2])
            tls = server["grpc_tls_addresses"]
            tls_port = int(tls[0].rpartition(":")[2]) if tls else 0
            workers = tuple(children(process.pid))
            yield Served(port, http, process.pid, workers[0], ready_after_s, Path(data), tls_port, workers)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_for(file: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    started = time.monotonic()
    while not file.exists():
        if process.poll() is not None or time.monotonic() - started > START_TIMEOUT_S:
            raise RuntimeError(log.read_text()[-2000:])
        time.sleep(0.02)
    return file.read_text()


def _is_ready(http: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{http}/v2/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def ceiling(front: str, *arguments: str) -> Iterator[int]:
    """The ceiling of a transport; gives its port."""
    with ceiling_process(front, *arguments) as (port, _):
        yield port


@contextlib.contextmanager
def ceiling_process(front: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """The ceiling of a transport (`benchmarks.ceiling`), alone or with a bare run behind it; gives its port and pid."""
    command = [sys.executable, "-m", "benchmarks.ceiling", front, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of h2load saw."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    data_bytes: int
    """Of all answers' bodies, with gRPC's prefixes: an answer that carries a gRPC error has none."""


def h2load(
    port: int,
    body: Path,
    requests: int,
    connections: int,
    streams: int,
    tls: bool = False,
    method: str = METHOD,
    http1: bool = False,
) -> Load:
    """`requests` calls of a method with `body` (framed), closed loop, `connections` x `streams` in flight.

    http1: the method is a path, and the body JSON, over HTTP/1.1.

    h2load takes an answer that carries a gRPC error for a success: whoever calls this compares with the server's own
    count of good answers.
    """
    if shutil.which("h2load") is None:
        raise RuntimeError("h2load is not installed (Debian's package nghttp2-client)")
    with tempfile.NamedTemporaryFile() as log:
        command = [
            "h2load",
            "-t1",
            "-n",
            str(requests),
            "-c",
            str(connections),
            "-m",
            str(streams),
            "-d",
            str(body),
        ]
        if http1:
            command += ["--h1", "-H", "content-type: application/json"]
        else:
            command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command.append(f"--log-file={log.name}")
        command += [f"{'https' if tls else 'http'}://127.0.0.1:{port}/{method}"]
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900).stdout
        took_us = [int(line.split("\t")[2]) for line in Path(log.name).read_text().splitlines()]
    rate = re.search(r"finished in .*?, ([0-9.]+) req/s", output)
    failed = re.search(r"requests: .* (\d+) failed", output)
    data = re.search(r"traffic: .* \((\d+)\) data", output)
    if rate is None or failed is None or failed.group(1) != "0" or data is None:
        raise RuntimeError(output[-2000:])
    quantiles = statistics.quantiles(took_us, n=100)
    return Load(float(rate.group(1)), quantiles[49] / 1000, quantiles[98] / 1000, int(data.group(1)))


@contextlib.contextmanager
def steady_load(
    port: int, body: Path, requests_per_s: float, connections: int, seconds: int
) -> Iterator[None]:
    """h2load beside something else: calls of ModelInfer with `body` (framed) at a steady rate, `seconds` at most."""
    command = ["h2load", "-t1", "-c", str(connections), "-m", "16", "-d", str(body), "-D", str(seconds)]
    command += [f"--rps={requests_per_s / connections:.3f}"]
    command += [
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
        f"http://127.0.0.1:{port}/{METHOD}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"h2load ended before what was measured beside it: {process.returncode}")
    finally:
        process.terminate()
        process.wait(30)


def resident_mib(pid: int) -> float:
    """Resident memory of a process, MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mib(pid: int) -> float:
    """The most resident memory of a process since `forget_peak`, MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def forget_peak(pid: int) -> None:
    """Has the most resident memory of a process counted from now on (`proc(5)`, clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def threads(pid: int) -> int:
    """Threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def scheduled_s(pid: int) -> float:
    """CPU seconds that the threads of a process have used that live still; to the nanosecond, `cpu_s` has ticks."""
    spent_ns = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            spent_ns += int(file.read_text().split()[0])
    return spent_ns / 1e9
