"""What a shadow costs the version in production, and how much it sees: healthy, hung, and at full load."""

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.closed_loop import closed_loop
from benchmarks.open_loop import open_loop
from benchmarks.processes import Served, steelyard
from benchmarks.tiny import SEED, save_tiny
from steelyard.client.admin import AdminClient
from steelyard.wire.generated import admin as pb
from steelyard.wire.generated import grpc_service as inference_pb

IN_FLIGHT = 32
WHO = pb.Who(actor="benchmark", reason="to be measured")

# The first value of every request: what makes the candidate that hangs do so.
HANGS_AT = 123_456.0


def hanging_model() -> onnx.ModelProto:
    """`tiny` over again, but that it turns for hours where the first value is HANGS_AT: at load and warm-up it runs."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["more_out"]),
            helper.make_node("Add", ["sum", "one"], ["sum_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("more_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, []),
        ],
    )
    weights = np.random.default_rng(SEED).normal(size=(16, 4)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMax", ["X"], ["largest"], keepdims=0),
        helper.make_node("Equal", ["largest", "hangs_at"], ["hangs"]),
        helper.make_node("Cast", ["hangs"], ["hangs_number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["hangs_number", "many"], ["turns"]),
        helper.make_node("Loop", ["turns", "always", "zero"], ["counted"], body=body),
        helper.make_node("Mul", ["counted", "zero"], ["nothing"]),
        helper.make_node("MatMul", ["X", "W"], ["product"]),
        helper.make_node("Add", ["product", "nothing"], ["Z"]),
        helper.make_node("Softmax", ["Z"], ["Y"], axis=1),
    ]
    constants = {
        "W": weights,
        "hangs_at": np.float32(HANGS_AT).reshape(()),
        "many": np.asarray(1 << 40, np.int64),
        "always": np.asarray(True),
        "zero": np.float32(0).reshape(()),
        "one": np.float32(1).reshape(()),
    }
    graph = helper.make_graph(
        nodes,
        "hanging",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def request() -> bytes:
    """One row for `tiny` whose first value is HANGS_AT."""
    message = inference_pb.ModelInferRequest(model_name="tiny")
    tensor = message.inputs.add(name="X", datatype="FP32")
    tensor.shape.extend([1, 16])
    values = np.random.default_rng(SEED).random((1, 16), np.float32)
    values[0, 0] = HANGS_AT
    message.raw_input_contents.append(values.tobytes())
    body: bytes = message.SerializeToString()
    return body


class Shadowed:
    """A server with `tiny` in production, an equal version 2 and a version 3 that hangs."""

    def __init__(self, server: Served, admin: AdminClient, body: Path) -> None:
        self.server = server
        self.admin = admin
        self.body = body

    def start(self, candidate: str) -> None:
        message = pb.StartShadowRequest(model="tiny", version=candidate, sample=1.0, who=WHO)
        self.admin.call("StartShadow", message, pb.Event)

    def stop(self) -> dict[str, Any]:
        """Ends the shadow; gives what its event says."""
        event = self.admin.call("StopShadow", pb.StopShadowRequest(model="tiny", who=WHO), pb.Event)
        found: dict[str, Any] = json.loads(event.details)
        return found

    def p99_ms(self, rate: float, seconds: float) -> tuple[float, float, int]:
        """p50 and p99 of an open loop, and how many calls failed."""
        with open_loop(self.server.port, self.body, rate, seconds) as load:
            outcome = load.outcome()
        return outcome.percentile(50), outcome.percentile(99), outcome.failed


def run(rounds: int = 7, seconds: float = 8.0) -> dict[str, Any]:
    """Rounds of: no shadow, an equal candidate, one that hangs, in turn at half of capacity; then one at full load."""
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        for version in (1, 2, 3):
            save_tiny(repository, version=version)
        (repository / "tiny" / "2" / "note.txt").write_text("the second version")
        onnx.save(hanging_model(), repository / "tiny" / "3" / "model.onnx")
        (repository / "tiny" / "model.toml").write_text(
            "[serving]\nversions = { list = [1] }\n[rollout.shadow]\ntimeout_s = 2.0\n"
        )
        body = Path(temporary) / "tiny.body"
        body.write_bytes(request())
        with (
            steelyard(repository, "--poll-interval-s", "0") as server,
            AdminClient(server.data, 60.0) as admin,
        ):
            shadowed = Shadowed(server, admin, body)
            with closed_loop(server.port, body, IN_FLIGHT, seconds * 5 / 8) as load:
                capacity = load.calls().rate
            rate = capacity / 2
            shadowed.p99_ms(rate, seconds / 4)
            results: dict[str, list[tuple[float, float, int]]] = {"alone": [], "healthy": [], "hung": []}
            shares: list[float] = []
            for _ in range(rounds):
                results["alone"].append(shadowed.p99_ms(rate, seconds))
                shadowed.start("2")
                results["healthy"].append(shadowed.p99_ms(rate, seconds))
                # What is on its way comes to be counted.
                time.sleep(1.0)
                seen = shadowed.stop()
                shares.append(seen["pairs"] / seen["tap"]["sampled"])
                shadowed.start("3")
                results["hung"].append(shadowed.p99_ms(rate, seconds))
                shadowed.stop()
            shadowed.start("2")
            with closed_loop(server.port, body, IN_FLIGHT * 4, seconds) as load:
                full = load.calls().rate
            time.sleep(1.0)
            at_full = shadowed.stop()
    found: dict[str, Any] = {
        "capacity_per_s": capacity,
        "rate_per_s": rate,
        "rounds": rounds,
        "seconds": seconds,
        "compared": statistics.median(shares),
        "compared_least": min(shares),
        "failed": sum(failed for rounds_of in results.values() for _, _, failed in rounds_of),
        "full_per_s": full,
        "full_tap": at_full["tap"],
        "full_pairs": at_full["pairs"],
    }
    alone = [p99 for _, p99, _ in results["alone"]]
    for name, rounds_of in results.items():
        found[name] = {
            "p50_ms": statistics.median(p50 for p50, _, _ in rounds_of),
            "p99_ms": statistics.median(p99 for _, p99, _ in rounds_of),
        }
        ratios = np.array([p99 / base for (_, p99, _), base in zip(rounds_of, alone, strict=True)])
        found[name]["ratio"], found[name]["ratio_interval"] = interval(ratios)
    return found


def interval(ratios: np.ndarray[Any, Any]) -> tuple[float, tuple[float, float]]:
    """The geometric mean of the rounds' ratios, and its 95 % interval by bootstrap over rounds."""
    logs = np.log(ratios)
    draws = np.random.default_rng(SEED).choice(logs, (10_000, len(logs))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(np.exp(logs.mean())), (float(np.exp(low)), float(np.exp(high)))


def report(found: dict[str, Any]) -> list[str]:
    """The result as lines of text."""
    lines = [
        f"open loop at {found['rate_per_s']:,.0f} of {found['capacity_per_s']:,.0f} requests/s, sample 1.0, "
        f"{found['rounds']} rounds of {found['seconds']:.0f} s in turn, {found['failed']} failed"
    ]
    for name in ("alone", "healthy", "hung"):
        one = found[name]
        low, high = one["ratio_interval"]
        lines.append(
            f"{name}: p50 {one['p50_ms']:.2f} ms, p99 {one['p99_ms']:.2f} ms, p99 / alone {one['ratio']:.2f} "
            f"({low:.2f} to {high:.2f})"
        )
    lines.append(f"compared: {100 * found['compared']:.1f} % (least {100 * found['compared_least']:.1f} %)")
    tap = found["full_tap"]
    dropped = {name: count for name, count in tap.items() if name.startswith("dropped_") and count}
    lines.append(
        f"full load, {found['full_per_s']:,.0f} requests/s: sampled {tap['sampled']:,}, pairs "
        f"{found['full_pairs']:,}, {dropped}, paused {tap['pauses']} times, {tap['paused_ns'] / 1e9:.1f} s"
    )
    return lines
