"""What is sent when the server does not answer: on time all the same, and counted from when it was due."""

import os
import signal

import numpy as np
import pytest

from benchmarks.processes import ceiling_process
from load.fleet import Sent, send
from load.job import UNSENT, Glimpse, Job, one_body
from steelyard.client.requests import Request, encode_request
from steelyard.errors import Unavailable
from steelyard.rpc import codes

BODY = encode_request(Request(model="m", inputs={"x": np.zeros((1, 4), np.float32)}))
RATE = 400
SECONDS = 2.0


def jobs(address: str, timeout_s: float, processes: int = 1, max_in_flight: int = 10_000) -> list[Job]:
    due_ns = (np.arange(int(RATE * SECONDS)) / RATE * 1e9).astype(np.int64)
    return [
        one_body(
            address,
            BODY,
            due_ns[place::processes],
            timeout_s,
            connections=2,
            max_in_flight=max_in_flight,
            warm_up=5,
        )
        for place in range(processes)
    ]


class Stall:
    """Stops a process when so many requests were sent, and lets it go on when so many more were."""

    def __init__(self, pid: int, stop_at: int, go_on_at: int) -> None:
        self._pid = pid
        self._stop_at = stop_at
        self._go_on_at = go_on_at
        self.spans: list[int] = []

    def __call__(self, glimpses: list[Glimpse | None]) -> None:
        sent = sum(glimpse.sent for glimpse in glimpses if glimpse is not None)
        if len(self.spans) == 0 and sent >= self._stop_at:
            os.kill(self._pid, signal.SIGSTOP)
            self.spans.append(sent)
        elif len(self.spans) == 1 and sent >= self._go_on_at:
            os.kill(self._pid, signal.SIGCONT)
            self.spans.append(sent)


def latency_ms(sent: Sent) -> np.ndarray:
    return (sent.ended_ns - sent.due_ns) / 1e6


def test_a_stall_is_in_the_latency_of_every_request_that_was_due_in_it() -> None:
    with ceiling_process("http2") as (port, pid):
        stall = Stall(pid, 100, 400)
        try:
            sent = send(jobs(f"127.0.0.1:{port}", 30.0, processes=2), tell=stall)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert len(stall.spans) == 2
    assert set(sent.code) == {codes.OK}
    # Sent as if nothing were the matter: all of them within the time that the load takes.
    assert np.all(sent.sent_ns >= sent.due_ns)
    assert (sent.sent_ns - sent.due_ns).max() < 0.5 * SECONDS * 1e9
    # Whoever waits for an answer before it asks again would have had one slow request for each in flight: two.
    stalled_s = (stall.spans[1] - stall.spans[0]) / RATE
    slow = latency_ms(sent) > 100
    assert slow.sum() > (stalled_s - 0.1) * RATE * 0.7
    # Those that were due later in it waited less, and all of them for the same moment.
    answered_at_ns = sent.ended_ns[slow]
    assert np.percentile(answered_at_ns, 90) - np.percentile(answered_at_ns, 10) < 0.5e9


def test_what_is_never_answered_ends_at_its_timeout_and_what_is_too_much_is_not_sent() -> None:
    with ceiling_process("http2") as (port, pid):
        stall = Stall(pid, 100, 1 << 40)
        try:
            sent = send(jobs(f"127.0.0.1:{port}", 0.5, max_in_flight=150), tell=stall)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert set(sent.code) == {codes.OK, codes.DEADLINE_EXCEEDED, UNSENT}
    expired = sent.code == codes.DEADLINE_EXCEEDED
    assert np.all(latency_ms(sent)[expired] >= 500)
    assert np.all(sent.sent_ns[sent.code == UNSENT] == 0)


def test_a_server_that_dies_fails_what_is_in_flight_and_the_load_goes_on_to_its_end() -> None:
    with ceiling_process("http2") as (port, pid):

        def kill(glimpses: list[Glimpse | None]) -> None:
            if any(glimpse is not None and glimpse.sent > 100 for glimpse in glimpses):
                os.kill(pid, signal.SIGTERM)

        sent = send(jobs(f"127.0.0.1:{port}", 0.3), tell=kill)
    assert len(sent.code) == RATE * SECONDS
    assert sent.code[0] == codes.OK
    assert sent.code[-1] == UNSENT
    assert set(sent.code) <= {codes.OK, codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED, UNSENT}


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(Unavailable, match=r"server at 127\.0\.0\.1:1: "):
        send(jobs("127.0.0.1:1", 1.0))
