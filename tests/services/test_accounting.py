"""Every request is counted once, whatever became of it."""

import random
import threading

import grpc
import numpy as np
import pytest

from steelyard.wire.generated import grpc_service as pb
from tests.support.asking import Asker, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

ENDS = ("answered", "refused", "failed", "cancelled", "lost")
STAGES = ("decode", "queue", "assemble", "execute", "encode", "total")


def test_received_is_the_sum_of_all_ends(server: Server) -> None:
    """Good requests, bad ones, failing ones, cancelled ones and expired ones at the same time, from several clients."""
    before = metrics(server)
    told = {"answered": 0, "refused": 0, "failed": 0, "gone": 0}
    lock = threading.Lock()

    def client(seed: int) -> None:
        chance = random.Random(seed)
        calls = []
        with Asker(server.address) as own:
            for _ in range(80):
                kind = chance.randrange(7)
                how: dict[str, float] = {}
                if kind == 0:
                    message = request("nobody", {})
                elif kind == 1:
                    message = request("double", {"x": np.ones((1, 5), np.float32)})
                elif kind == 2:
                    message = request("embed", {"ids": np.array([[chance.choice([1, 99])]], np.int64)})
                elif kind == 3:
                    message = request("slow", {"ids": np.array([[1]], np.int64)})
                    how["timeout"] = chance.choice([0.005, 0.02, 30.0])
                elif kind == 4:
                    message = request(
                        "slow",
                        {"ids": np.array([[2]], np.int64)},
                        parameters={"timeout": chance.choice([1, 2000, 10**9])},
                    )
                else:
                    message = request("double", {"x": np.ones((chance.randrange(1, 9), 4), np.float32)})
                call = own.start(message, **how)
                if kind == 5 and chance.random() < 0.5:
                    call.cancel()
                calls.append(call)
            for call in calls:
                code = call.code()
                end = {
                    grpc.StatusCode.OK: "answered",
                    grpc.StatusCode.CANCELLED: "gone",
                    grpc.StatusCode.NOT_FOUND: "refused",
                    grpc.StatusCode.INVALID_ARGUMENT: "refused",
                    grpc.StatusCode.DEADLINE_EXCEEDED: "gone",
                }[code]
                with lock:
                    told[end] += 1

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: metrics(server)["steelyard_in_flight"] == 0)
    after = metrics(server)
    received = after["steelyard_requests_received_total"]
    assert received == sum(after.outcome(end) for end in ENDS)
    came = received - before["steelyard_requests_received_total"]
    # A call that was cancelled at once may never have reached the server.
    assert came <= 480
    assert came >= 480 - told["gone"]
    answered = after.outcome("answered") - before.outcome("answered")
    assert told["answered"] <= answered <= told["answered"] + told["gone"]
    assert after["steelyard_queue_depth"] == 0
    assert after["steelyard_queue_bytes"] == 0


@pytest.mark.parametrize("model", ["double", "same_bytes", "embed"])
def test_the_stages_count_answered_requests(server: Server, ask: Asker, model: str) -> None:
    inputs = {
        "double": {"x": np.ones((2, 4), np.float32)},
        "same_bytes": {"x": np.array([["a"] * 4], object)},
        "embed": {"ids": np.array([[1]], np.int64)},
    }[model]
    for _ in range(5):
        ask.infer(model, inputs)
    answered = metrics(server, model=model).outcome("answered")
    for stage in STAGES:
        found = metrics(server, model=model, stage=stage)
        assert found["steelyard_request_stage_seconds_count"] == answered
    whole = metrics(server, model=model, stage="total")["steelyard_request_stage_seconds_sum"]
    parts = sum(
        metrics(server, model=model, stage=stage)["steelyard_request_stage_seconds_sum"]
        for stage in STAGES
        if stage != "total"
    )
    assert 0 < parts <= whole * 1.05


def test_rows_batches_and_statistics_agree(server: Server, ask: Asker) -> None:
    for rows in (1, 3, 7):
        ask.infer("same_uint8", {"x": np.zeros((rows, 4), np.uint8)})
    found = metrics(server, model="same_uint8")
    (statistics,) = ask.call("ModelStatistics", pb.ModelStatisticsRequest(name="same_uint8")).model_stats
    assert found["steelyard_rows_total"] == statistics.inference_count
    assert found["steelyard_batches_total"] == statistics.execution_count
    assert found["steelyard_batch_rows_count"] == statistics.execution_count
    assert found["steelyard_batch_rows_sum"] == statistics.inference_count
    assert found.outcome("answered") == statistics.inference_stats.success.count


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\xff", "invalid"),
        (request("nobody", {}), "not_found"),
        (request("double", {}), "invalid"),
        (request("double", {}, version="7"), "not_found"),
        (request("empty_file", {}), "not_ready"),
    ],
)
def test_refusals_by_reason(server: Server, ask: Asker, message: object, reason: str) -> None:
    before = metrics(server).refused(reason)
    ask.refused(message)
    assert metrics(server).refused(reason) == before + 1


def test_names_that_do_not_exist_make_no_series(server: Server, ask: Asker) -> None:
    for n in range(50):
        ask.refused(request(f"made-up-{n}", {}))
    assert "made-up-" not in server.get("/metrics")[1]
