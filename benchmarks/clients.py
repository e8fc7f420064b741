"""Our clients against grpcio's, before the same server: calls a second and p50, in turn, medians.

What it favours: `tiny`, a model that costs nothing, so that the client is what is measured; client and server share the
machine. Arrays go in and come out on either side: around grpcio stand protobuf's messages, as its users have them, and
no more is read of an answer than its arrays. Lines marked "bytes" leave both out, so that only the transports are
compared. Every run is a process of its own.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks.benchmark import Chart
from benchmarks.processes import METHOD, steelyard
from benchmarks.tiny import save_tiny, tiny_request
from steelyard.wire.generated.grpc_service import ModelInferRequest, ModelInferResponse

IN_FLIGHT = (1, 64)
WARM_UP_CALLS = 200

X = {"X": np.random.default_rng(7).random((1, 16), np.float32)}

# Ours, then grpcio's that it is held against; by what is compared.
ASYNC = {"arrays": ("AsyncClient", "grpcio aio"), "bytes": ("our channel", "grpcio aio bytes")}
LOOPS = ("asyncio", "uvloop")
SYNC = ("Client", "grpcio")


def run(
    rounds: int = 5,
    seconds: float = 2.0,
    loops: Sequence[str] = LOOPS,
    in_flights: Sequence[int] = IN_FLIGHT,
) -> dict[str, Any]:
    """By what is compared, the loop and the calls in flight: calls a second and p50 of both, and each round's ratio."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        save_tiny(repository)
        with steelyard(repository) as server:
            for what, pair in ASYNC.items():
                for loop in loops:
                    for in_flight in in_flights:
                        key = f"{what}, {loop}, {in_flight} in flight"
                        found[key] = _compare(pair, loop, in_flight, server.port, rounds, seconds)
            found["arrays, one thread, 1 in flight"] = _compare(SYNC, "none", 1, server.port, rounds, seconds)
    return found


def _compare(
    pair: tuple[str, str], loop: str, in_flight: int, port: int, rounds: int, seconds: float
) -> dict[str, Any]:
    own: list[dict[str, float]] = []
    other: list[dict[str, float]] = []
    for _ in range(rounds):
        for kind, measured in zip(pair, (own, other), strict=True):
            measured.append(_measure(kind, loop, in_flight, port, seconds))
    ratios = [ours["calls_per_s"] / theirs["calls_per_s"] for ours, theirs in zip(own, other, strict=True)]
    return {
        "own": _medians(own),
        "other": _medians(other),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "rounds_per_s": {
            "ours": [run["calls_per_s"] for run in own],
            "grpcio's": [run["calls_per_s"] for run in other],
        },
    }


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in runs) for name in runs[0]}


def _measure(kind: str, loop: str, in_flight: int, port: int, seconds: float) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.clients",
        kind,
        loop,
        str(in_flight),
        str(port),
        str(seconds),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = [
        "| what | calls/s | grpcio's | ratio (spread) | p50 µs | grpcio's |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        own, other, ratios = row["own"], row["other"], row["ratios"]
        lines.append(
            f"| {name} | {own['calls_per_s']:,.0f} | {other['calls_per_s']:,.0f} "
            f"| {row['ratio']:.2f} ({min(ratios):.2f}–{max(ratios):.2f}) "
            f"| {own['p50_us']:,.0f} | {other['p50_us']:,.0f} |"
        )
    return lines


def charts(found: dict[str, Any]) -> list[Chart]:
    """A chart a line of the table."""
    return [Chart(name, "calls/s", row["rounds_per_s"]) for name, row in found.items()]


# What users of grpcio write.


# How a stub makes bytes of a request, and a message of an answer.
MESSAGES = {
    "request_serializer": ModelInferRequest.SerializeToString,
    "response_deserializer": ModelInferResponse.FromString,
}


def message_of(model: str, inputs: dict[str, np.ndarray]) -> ModelInferRequest:
    message = ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        message.inputs.add(name=name, datatype="FP32", shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    return message


def arrays_of(message: ModelInferResponse) -> dict[str, np.ndarray]:
    return {
        output.name: np.frombuffer(raw, np.float32).reshape(output.shape)
        for output, raw in zip(message.outputs, message.raw_output_contents, strict=True)
    }


# One run, in its own process.


async def _async_load(ask: Callable[[], Awaitable[Any]], in_flight: int, seconds: float) -> dict[str, float]:
    took: list[float] = []
    end = 0.0

    async def repeat() -> None:
        while (began := time.perf_counter()) < end:
            await ask()
            took.append(time.perf_counter() - began)

    for _ in range(WARM_UP_CALLS):
        await ask()
    began = time.perf_counter()
    end = began + seconds
    await asyncio.gather(*(repeat() for _ in range(in_flight)))
    return _summary(took, time.perf_counter() - began)


async def _async_run(kind: str, in_flight: int, port: int, seconds: float) -> dict[str, float]:
    address = f"127.0.0.1:{port}"
    if kind == "AsyncClient":
        from steelyard import AsyncClient

        async with AsyncClient(address) as client:
            return await _async_load(lambda: client.infer("tiny", X), in_flight, seconds)
    if kind == "our channel":
        from steelyard.client.aio_channel import AsyncChannel
        from steelyard.client.backoff import Backoff
        from steelyard.client.target import parse_target
        from steelyard.client.wiring import Wiring
        from steelyard.rpc.limits import Limits

        channel = AsyncChannel(parse_target(address), Wiring(Limits()), None, Backoff(lambda: 0.5))
        body = tiny_request()
        try:
            return await _async_load(lambda: channel.unary(f"/{METHOD}", body).answer(), in_flight, seconds)
        finally:
            await channel.close()
    import grpc.aio

    async with grpc.aio.insecure_channel(address) as theirs:
        if kind == "grpcio aio bytes":
            call = theirs.unary_unary(f"/{METHOD}")
            body = tiny_request()
            return await _async_load(lambda: call(body), in_flight, seconds)
        call = theirs.unary_unary(f"/{METHOD}", **MESSAGES)

        async def ask() -> Any:
            return arrays_of(await call(message_of("tiny", X)))

        return await _async_load(ask, in_flight, seconds)


def _sync_load(ask: Callable[[], Any], seconds: float) -> dict[str, float]:
    took: list[float] = []
    for _ in range(WARM_UP_CALLS):
        ask()
    began = before = time.perf_counter()
    while before < began + seconds:
        ask()
        after = time.perf_counter()
        took.append(after - before)
        before = after
    return _summary(took, before - began)


def _sync_run(kind: str, port: int, seconds: float) -> dict[str, float]:
    address = f"127.0.0.1:{port}"
    if kind == "Client":
        from steelyard import Client

        with Client(address) as client:
            return _sync_load(lambda: client.infer("tiny", X), seconds)
    import grpc

    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{METHOD}", **MESSAGES)
        return _sync_load(lambda: arrays_of(call(message_of("tiny", X))), seconds)


def _summary(took: list[float], seconds: float) -> dict[str, float]:
    return {"calls_per_s": len(took) / seconds, "p50_us": statistics.median(took) * 1e6}


def main(kind: str, loop: str, in_flight: str, port: str, seconds: str) -> None:
    """Prints what one run saw, as JSON."""
    if loop == "none":
        measured = _sync_run(kind, int(port), float(seconds))
    else:
        factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            measured = runner.run(_async_run(kind, int(in_flight), int(port), float(seconds)))
    print(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
