"""What requests that run together give each other: nothing, not an answer and not an error."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from steelyard.wire.generated import grpc_service as pb
from tests.support.asking import Asker, arrays, request
from tests.support.server import Server


def executions(ask: Asker, model: str) -> tuple[int, int]:
    """Batches that ran, and rows in them."""
    (found,) = ask.call("ModelStatistics", pb.ModelStatisticsRequest(name=model)).model_stats
    return found.execution_count, found.inference_count


def test_only_the_culprit_of_a_batch_gets_the_error(ask: Asker) -> None:
    culprit = 13
    before, _ = executions(ask, "gathered")
    sent = [np.array([[index % 16 if index != culprit else 999]], np.int64) for index in range(32)]
    started = [ask.start(request("gathered", {"ids": ids})) for ids in sent]
    for index, call in enumerate(started):
        if index == culprit:
            assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "'gathered'" in call.details()
            assert "999" in call.details()
        else:
            found = arrays(pb.ModelInferResponse.FromString(call.result()))["vectors"]
            assert found.tolist() == [[[float(index % 16)] * 4]]
    # They were one batch, whatever it took to find the culprit.
    assert executions(ask, "gathered")[0] - before == 1


def test_waiting_for_others_costs_nobody_the_deadline(ask: Asker) -> None:
    ids = np.array([[3]], np.int64)
    # Far less than batches of this model may wait to fill, so that the deadline ends the wait.
    for _ in range(5):
        answer = ask.start(request("gathered", {"ids": ids}), timeout=0.3).result()
        assert arrays(pb.ModelInferResponse.FromString(answer))["vectors"].tolist() == [[[3.0] * 4]]


def test_a_caller_who_keeps_failing_still_gets_its_good_answers(server: Server) -> None:
    with Asker(server.address) as own:
        for _ in range(5):
            assert own.refused(request("embed", {"ids": np.array([[99]], np.int64)})).code is (
                grpc.StatusCode.INVALID_ARGUMENT
            )
        calls = [own.start(request("embed", {"ids": np.array([[n % 16]], np.int64)})) for n in range(20)]
        for n, call in enumerate(calls):
            found = arrays(pb.ModelInferResponse.FromString(call.result()))["vectors"]
            assert found.ravel().tolist() == [float(n % 16)] * 4


def test_every_client_gets_its_own_rows(server: Server) -> None:
    """Sixteen clients, any number of rows, values that no two requests share, and models that differ in kind."""
    clients, calls_each = 16, 12
    values = iter(range(1, 1 << 30))
    lock = threading.Lock()

    def client(number: int) -> None:
        chance = np.random.default_rng(number)
        with Asker(server.address) as own:
            pending = []
            for turn in range(calls_each):
                rows = int(chance.integers(1, 90)) if turn % 3 else int(chance.integers(1, 4))
                with lock:
                    base = next(values)
                tags = (base * 100 + np.arange(rows)).astype(np.float64)
                kind = ("double", "same_fp64", "same_bytes", "pair", "same_int64")[(number + turn) % 5]
                if kind == "double":
                    tags %= 1 << 22
                    inputs = {"x": np.repeat(tags[:, None], 4, axis=1).astype(np.float32)}
                elif kind == "pair":
                    tags %= 1 << 22
                    wide = np.repeat(tags[:, None], 3, axis=1).astype(np.float32)
                    inputs = {"a": wide, "b": wide * 0 + 1}
                elif kind == "same_bytes":
                    inputs = {"x": np.array([[f"{tag}-{i}" for i in range(4)] for tag in tags], object)}
                else:
                    inputs = {
                        "x": np.repeat(tags[:, None], 4, axis=1).astype({"same_fp64": "f8"}.get(kind, "i8"))
                    }
                pending.append((kind, inputs, own.start(request(kind, inputs, id=f"{number}.{turn}"))))
            for turn, (kind, inputs, call) in enumerate(pending):
                response = pb.ModelInferResponse.FromString(call.result())
                assert response.id == f"{number}.{turn}"
                found = arrays(response)
                if kind == "double":
                    assert np.array_equal(found["y"], inputs["x"] * 2)
                elif kind == "pair":
                    assert np.array_equal(found["sum"], inputs["a"] + 1)
                    assert np.array_equal(found["difference"], inputs["a"] - 1)
                elif kind == "same_bytes":
                    assert [[t.decode() for t in row] for row in found["y"].tolist()] == inputs["x"].tolist()
                else:
                    assert np.array_equal(found["y"], inputs["x"])

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(client, number) for number in range(clients)]:
            done.result()


def test_requests_with_different_inner_dimensions(ask: Asker) -> None:
    chance = np.random.default_rng(5)
    sent = [
        chance.random((int(chance.integers(1, 4)), *chance.integers(0, 5, 2)), np.float32) for _ in range(60)
    ]
    calls = [ask.start(request("open", {"x": x})) for x in sent]
    for x, call in zip(sent, calls, strict=True):
        assert np.array_equal(arrays(pb.ModelInferResponse.FromString(call.result()))["y"], x)


@pytest.mark.parametrize(
    ("model", "allowed", "reason"),
    [
        ("double", True, "same answers together and one by one"),
        ("embed", True, "same answers together and one by one"),
        ("slow", True, "same answers together and one by one"),
        ("centred", False, "depends on the rows beside it"),
        ("dynamic", False, "depends on the rows beside it"),
        ("noisy", False, "different answers twice"),
        ("distinct", False, "output 'y'"),
        ("fixed", False, "no batch axis"),
        ("total", False, "no batch axis"),
    ],
)
def test_which_models_are_batched_and_why(ask: Asker, model: str, allowed: bool, reason: str) -> None:
    metadata = ask.call("ModelMetadata", pb.ModelMetadataRequest(name=model))
    assert reason in metadata.properties["batching_reason"]
    assert metadata.properties["batched"] == str(allowed).lower()
    config = ask.call("ModelConfig", pb.ModelConfigRequest(name=model)).config
    assert (config.max_batch_size > 0) is allowed
    assert config.HasField("dynamic_batching") is allowed


@pytest.mark.parametrize(("model", "width"), [("centred", 4), ("dynamic", 8)])
def test_a_model_whose_rows_depend_on_each_other_runs_one_request_at_a_time(
    ask: Asker, model: str, width: int
) -> None:
    chance = np.random.default_rng(1)
    sent = [chance.standard_normal((2, width)).astype(np.float32) * 10**n for n in range(-3, 4)] * 4
    alone = [ask.infer(model, {"x": x})["y"] for x in sent]
    batches, rows = executions(ask, model)
    calls = [ask.start(request(model, {"x": x})) for x in sent]
    for expected, call in zip(alone, calls, strict=True):
        assert np.array_equal(arrays(pb.ModelInferResponse.FromString(call.result()))["y"], expected)
    after_batches, after_rows = executions(ask, model)
    assert after_batches - batches == len(sent)
    assert after_rows - rows == 2 * len(sent)


def test_more_rows_than_the_largest_batch(ask: Asker) -> None:
    sent = np.arange(4 * 5000, dtype=np.float32).reshape(5000, 4)
    assert np.array_equal(ask.infer("double", {"x": sent})["y"], sent * 2)
