"""ModelStreamInfer: many requests on one stream, each answered by itself."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.wire.generated import grpc_service as pb
from tests.support.asking import Asker, arrays, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually


def numbered(number: int) -> Any:
    return request("double", {"x": np.full((1, 4), number, np.float32)}, id=str(number))


class Sending:
    """Requests of a stream that are given one by one; iterated by gRPC."""

    def __init__(self) -> None:
        self._items: queue.Queue[Any] = queue.Queue()

    def give(self, message: Any) -> None:
        self._items.put(message)

    def end(self) -> None:
        self._items.put(None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items.get, None)


def test_every_request_is_answered_whatever_the_order(ask: Asker) -> None:
    found = {}
    for message in ask.stream(numbered(n) for n in range(1000)):
        assert not message.error_message
        response = message.infer_response
        found[int(response.id)] = arrays(response)["y"].tolist()
    assert found == {n: [[2.0 * n] * 4] for n in range(1000)}


def test_the_answer_comes_before_the_next_request(ask: Asker) -> None:
    sending = Sending()
    answers = ask.stream(sending)
    for number in range(5):
        sending.give(numbered(number))
        assert next(answers).infer_response.id == str(number)
    sending.end()
    assert list(answers) == []


def test_a_quick_request_overtakes_a_slow_one(ask: Asker) -> None:
    sending = Sending()
    answers = ask.stream(sending)
    for _ in range(2):
        sending.give(request("stall", {"turns": np.array([200_000], np.int64)}, id="slow"))
    sending.give(numbered(1))
    order = [next(answers).infer_response.id for _ in range(3)]
    assert order[-1] == "slow"
    assert sorted(order) == ["1", "slow", "slow"]
    sending.end()
    assert list(answers) == []


def test_errors_are_messages_that_say_which_request_they_are_about(ask: Asker) -> None:
    sent = [
        numbered(1),
        request("nobody", {"x": np.ones((1, 4), np.float32)}, id="unknown"),
        request("double", {"x": np.ones((1, 5), np.float32)}, id="misfit", version="1"),
        request("embed", {"ids": np.array([[99]], np.int64)}, id="poison"),
        b"\xff\xff",
        numbered(2),
    ]
    good, bad, codes = {}, {}, {}
    for message in ask.stream(sent):
        response = message.infer_response
        if message.error_message:
            bad[response.id] = (message.error_message, response.model_name, response.model_version)
            codes[response.id] = response.parameters["steelyard_status"].int64_param
            assert len(response.parameters["steelyard_decision_id"].string_param) == 36
            assert not response.outputs
        else:
            good[response.id] = arrays(response)["y"].tolist()
    assert good == {"1": [[2.0] * 4], "2": [[4.0] * 4]}
    assert set(bad) == {"unknown", "misfit", "poison", ""}
    assert "'nobody'" in bad["unknown"][0]
    assert bad["misfit"][1:] == ("double", "1")
    assert "[1, 5]" in bad["misfit"][0]
    assert "99" in bad["poison"][0]
    assert "ModelInferRequest" in bad[""][0]
    assert codes == {"unknown": 5, "misfit": 3, "poison": 3, "": 3}


def test_half_close_waits_for_what_is_under_way(ask: Asker) -> None:
    answers = list(ask.stream([request("stall", {"turns": np.array([100_000], np.int64)}, id="last")]))
    assert [message.infer_response.id for message in answers] == ["last"]


def test_a_stream_without_a_request(ask: Asker) -> None:
    assert list(ask.stream([])) == []


def test_a_cancelled_stream_takes_its_requests_with_it(server: Server, ask: Asker) -> None:
    labels = {"model": "stall", "version": "1"}
    eventually(lambda: metrics(server, **labels)["steelyard_in_flight"] == 0)
    before = metrics(server, **labels)
    sending = Sending()
    call = ask.stream(sending)
    for _ in range(4):
        sending.give(request("stall", {"turns": np.array([200_000], np.int64)}))
    eventually(lambda: metrics(server, **labels)["steelyard_in_flight"] == 4)
    call.cancel()  # type: ignore[attr-defined]
    eventually(lambda: metrics(server, **labels)["steelyard_in_flight"] == 0)
    after = metrics(server, **labels)
    ended = after.outcome("cancelled") + after.outcome("answered")
    assert ended == before.outcome("cancelled") + before.outcome("answered") + 4
    assert after.outcome("cancelled") > before.outcome("cancelled")
    sending.end()


def test_a_caller_who_does_not_read_is_not_read_from(server: Server, connect: Callable[[], Asker]) -> None:
    """The requests of a stream that are inside are bounded, and so are its answers that nobody takes."""
    handed = 0
    lock = threading.Lock()

    def endless() -> Iterator[Any]:
        nonlocal handed
        body = request("double", {"x": np.zeros((2000, 4), np.float32)})
        for _ in range(4000):
            with lock:
                handed += 1
            yield body

    with connect() as own:
        before = metrics(server, model="double")["steelyard_requests_received_total"]
        call = own.stream(endless())
        last = -1.0

        def still() -> bool:
            nonlocal last
            now = metrics(server, model="double")["steelyard_requests_received_total"] - before
            stood, last = now == last, now
            return stood and now > 0

        eventually(still, every_s=0.3)
        # 256 inside, and what fits into the windows and buffers of both sides.
        assert last < 3000
        call.cancel()  # type: ignore[attr-defined]


def test_large_answers_that_nobody_reads_are_bounded_in_bytes(
    server: Server, connect: Callable[[], Asker]
) -> None:
    body = request("widened", {"x": np.ones((1, 1), np.float32)})
    with connect() as own:
        before = metrics(server, model="widened")["steelyard_requests_received_total"]
        sending = Sending()
        call = own.stream(sending)
        for _ in range(200):
            sending.give(body)
        last = -1.0

        def still() -> bool:
            nonlocal last
            now = metrics(server, model="widened")["steelyard_requests_received_total"] - before
            stood, last = now == last, now
            return stood and now > 0

        eventually(still, every_s=0.3)
        # 1 MiB of answers of 200 KB, the first eight, and what the windows of both sides hold.
        assert last < 60
        sending.end()
        assert sum(not message.error_message for message in call) == 200


def test_two_streams_at_once(ask: Asker) -> None:
    one, two = ask.stream([numbered(1)] * 50), ask.stream([numbered(2)] * 50)
    assert {m.infer_response.id for m in one} == {"1"}
    assert {m.infer_response.id for m in two} == {"2"}


def test_a_message_over_the_limit_ends_the_stream(ask: Asker) -> None:
    large = request("double", {"x": np.zeros((70_000, 4), np.float32)})
    with pytest.raises(grpc.RpcError) as caught:
        list(ask.stream([numbered(1), large]))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ask.call("ServerLive", pb.ServerLiveRequest()).live
