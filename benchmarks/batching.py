"""Batching on against off at any concurrency, and the tail at 70 % of capacity against an ideal queue's.

What it favours: every request has one row, and callers of the closed loop ask again at once, so that requests wait
together as often as they can. The two versions are served by one process, asked in turn. The ideal queue of the open
loop knows what batches cost, as the server has measured them, and nothing of what is still to come; a lone request's
way over the front is added to its latencies, and everything else that the machine does is against us. Capacity is what
the closed loop gets, or the open loop where that gets less: its client takes more of the same cores. What of a tail is
the client's own is shown by the same requests to a sketch of a transport, which answers fixed bytes at once.
"""

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tomli_w

from benchmarks.open_loop import open_loop
from benchmarks.processes import Served, ceiling, h2load, steelyard
from benchmarks.queue_simulation import Asked, Cost, Ideal, simulate
from benchmarks.real_models import RealModel, real_models
from benchmarks.tiny import framed, tiny_model, tiny_request
from steelyard.client import Client
from steelyard.runtime.threads import thread_budget
from steelyard.wire.generated import grpc_service as pb

CONCURRENCY = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
SECONDS = 2.0
ROUNDS = 5
SHARE_OF_CAPACITY = 0.7
# A 99th percentile of fewer requests is the slowest one; and what a slow model may take for them.
TAIL_REQUESTS = 500
TAIL_SECONDS = 60.0
ON, OFF = "on", "off"


def benched(names: tuple[str, ...] = ()) -> list[RealModel]:
    """`tiny` and the real models; those of `names` where any are given."""
    asked = pb.ModelInferRequest.FromString(tiny_request())
    row = np.frombuffer(asked.raw_input_contents[0], np.float32).reshape(1, 16)
    tiny = RealModel("tiny", lambda: tiny_model().SerializeToString(), {"X": row})
    return [model for model in (tiny, *real_models()) if not names or model.name in names]


def request(model: RealModel, name: str) -> bytes:
    """The model's request, for the version that is batched or the one that is not."""
    return replace(model, name=name).request()


def repository(model: RealModel, root: Path) -> Path:
    """The model twice: as it is, and never batched."""
    content = model.serialized()
    for name in (ON, OFF):
        version = root / name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(content)
    (root / OFF / "model.toml").write_text(tomli_w.dumps({"serving": {"batching": False}}))
    return root


def run(
    names: tuple[str, ...] = (),
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    concurrency: tuple[int, ...] = CONCURRENCY,
    tail_requests: int = TAIL_REQUESTS,
) -> dict[str, Any]:
    """For each model: requests/s on ÷ off at each concurrency, and both tails at a share of the capacity."""
    found: dict[str, Any] = {}
    for model in benched(names):
        with tempfile.TemporaryDirectory() as temporary:
            root = repository(model, Path(temporary) / "models")
            bodies = {name: Path(temporary) / name for name in (ON, OFF)}
            for name, path in bodies.items():
                path.write_bytes(framed(request(model, name)))
            with steelyard(root) as server, ceiling("http2") as sketch:
                closed = {
                    str(flights): _on_and_off(server, bodies, flights, rounds, seconds)
                    for flights in concurrency
                }
                capacity = max(statistics.median(row[ON]) for row in closed.values())
                bodies[ON].write_bytes(request(model, ON))
                rate = SHARE_OF_CAPACITY * min(capacity, _reached(server, bodies[ON], capacity, seconds))
                lasting = max(2 * seconds, 2.0, min(tail_requests / rate, TAIL_SECONDS))
                opened = _open(server, sketch, bodies[ON], rate, rounds, lasting)
        found[model.name] = {
            "closed": closed,
            "capacity": capacity,
            "open": opened,
        }
    return found


def lower_bound(ratios: list[float]) -> float:
    """The lower 95 % bound of the ratios' median, by resampling (Efron, 1979)."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    return float(np.quantile(medians, 0.05))


def _on_and_off(
    server: Served, bodies: dict[str, Path], flights: int, rounds: int, seconds: float
) -> dict[str, list[float]]:
    connections = next(count for count in (4, 3, 2, 1) if not flights % count)
    flights //= connections
    rates: dict[str, list[float]] = {ON: [], OFF: []}
    # How many requests fill the time; more is learned while nothing is measured.
    some = {
        name: h2load(server.port, body, 50 * flights, connections, flights) for name, body in bodies.items()
    }
    for turn in range(rounds):
        # In turn first, so that neither has the better half of a minute that gets worse.
        for name in (ON, OFF) if turn % 2 else (OFF, ON):
            requests = max(int(some[name].requests_per_s * seconds), 2 * connections * flights)
            rates[name].append(
                h2load(server.port, bodies[name], requests, connections, flights).requests_per_s
            )
    return {**rates, "ratios": [on / off for on, off in zip(rates[ON], rates[OFF], strict=True)]}


def _reached(server: Served, body: Path, rate: float, seconds: float) -> float:
    """Answers a second where requests come at `rate`, which is as many as a cheaper client has got: what server and
    open loop do together, on the same cores."""
    with open_loop(server.port, body, rate, max(seconds, 1.0)) as running:
        outcome = running.outcome()
    ended_s = outcome.due_s + outcome.latency_ms / 1e3
    answered = len(ended_s) - outcome.failed
    return float(answered / (np.nanmax(ended_s) - outcome.due_s[0]))


def _open(
    server: Served, sketch: int, body: Path, rate: float, rounds: int, seconds: float
) -> dict[str, Any]:
    before = _batches(server)
    way_ms, failed = _way_ms(server, body), 0
    ours, ideals, clients = [], [], []
    for _ in range(rounds):
        with open_loop(server.port, body, rate, seconds) as running:
            outcome = running.outcome()
        failed += outcome.failed
        ours.append(outcome.percentile(99))
        cost, most = _cost(server, before)
        due_ns = ((outcome.due_s - outcome.due_s[0]) * 1e9).astype(int)
        ideal = simulate(Ideal(cost, most, thread_budget()), [Asked(int(at)) for at in due_ns], cost)
        ideals.append(ideal.p(0.99) / 1e6 + way_ms)
        with open_loop(sketch, body, rate, seconds) as running:
            clients.append(running.outcome().percentile(99))
    return {
        "rate": rate,
        "p99_ms": ours,
        "ideal_p99_ms": ideals,
        "client_p99_ms": clients,
        "ratio": statistics.median(own / other for own, other in zip(ours, ideals, strict=True)),
        "way_ms": way_ms,
        "failed": failed,
    }


def _way_ms(server: Served, body: Path) -> float:
    """What a lone request takes beside its run, ms: to the server and back, decoding, encoding."""
    with Client(f"127.0.0.1:{server.port}") as client:
        (before,) = client.statistics(ON)
    with open_loop(server.port, body, 20.0, 2.0) as running:
        outcome = running.outcome()
    with Client(f"127.0.0.1:{server.port}") as client:
        (after,) = client.statistics(ON)
    mean_ms = (after.mean_ms * after.requests - before.mean_ms * before.requests) / (
        after.requests - before.requests
    )
    return max(outcome.percentile(50) - mean_ms, 0.0)


def _batches(server: Served) -> dict[int, tuple[int, int]]:
    """Batches of each size so far, and the nanoseconds that they took from filling to encoded answers."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelStatistics",
            request_serializer=pb.ModelStatisticsRequest.SerializeToString,
            response_deserializer=pb.ModelStatisticsResponse.FromString,
        )
        (found,) = call(pb.ModelStatisticsRequest(name=ON)).model_stats
    return {
        batch.batch_size: (
            batch.compute_infer.count,
            batch.compute_input.ns + batch.compute_infer.ns + batch.compute_output.ns,
        )
        for batch in found.batch_stats
    }


def _cost(server: Served, before: dict[int, tuple[int, int]]) -> tuple[Cost, int]:
    """What batches cost while the load ran, by their sizes, straight between those met; and the largest worth it."""
    after = _batches(server)
    met: dict[int, float] = {}
    for rows, (count, ns) in sorted(after.items()):
        earlier = before.get(rows, (0, 0))
        if rows and count > earlier[0]:
            met[rows] = (ns - earlier[1]) / (count - earlier[0])
    sizes, times = list(met), list(met.values())

    def cost(rows: int) -> int:
        if rows > sizes[-1]:
            return int(times[-1] * rows / sizes[-1])
        return int(np.interp(rows, sizes, times))

    return cost, sizes[-1]


def report(found: dict[str, Any]) -> list[str]:
    """The tables, line by line."""
    lines = [
        "| model | on ÷ off by requests in flight: median (lower 95 % bound) | lowest median | lowest bound |",
        "|---|---|---|---|",
    ]
    for name, row in found.items():
        at = {
            flights: (statistics.median(one["ratios"]), lower_bound(one["ratios"]))
            for flights, one in row["closed"].items()
        }
        each = ", ".join(f"{flights}: {median:.2f} ({low:.2f})" for flights, (median, low) in at.items())
        lowest = [min(figures) for figures in zip(*at.values(), strict=True)]
        lines.append(f"| {name} | {each} | {lowest[0]:.3f} | {lowest[1]:.3f} |")
    lines += [
        "",
        "| model | open loop, requests/s | p99, ms | ideal queue's | p99 ÷ ideal | the client's own, ms |",
    ]
    lines += ["|---|---|---|---|---|---|"]
    for name, row in found.items():
        tail = row["open"]
        ours, ideal, client = (
            statistics.median(tail[key]) for key in ("p99_ms", "ideal_p99_ms", "client_p99_ms")
        )
        lines.append(
            f"| {name} | {tail['rate']:.0f} | {ours:.2f} | {ideal:.2f} | {tail['ratio']:.2f} | {client:.2f} |"
        )
    return lines
