"""A shadow's tap alone: when it pauses, what it drops, and that nothing that its peer does holds it up."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from steelyard._native.decision import new_ids
from steelyard.clock import ManualClock
from steelyard.errors import ExecutionFailed
from steelyard.rollout.frames import Unit, decode_unit, encode_ack, listen, read_frame
from steelyard.serving.shadowing import (
    PAUSE_ABOVE,
    PAUSE_SLACK_NS,
    QUIET_NS,
    RESUME_BELOW,
    WINDOW,
    Pressure,
    ShadowTap,
)
from tests.support.waiting import eventually

MS = 1_000_000


class Peer:
    """The process's side of a socket, to be made to do what a test wants."""

    def __init__(self, path: Path) -> None:
        self.listener = listen(path)
        self.connection: socket.socket | None = None

    def accept(self) -> None:
        self.connection, _ = self.listener.accept()

    def read(self) -> Unit:
        assert self.connection is not None
        frame = read_frame(self.connection, 1 << 30)
        assert frame is not None
        return decode_unit(frame[2])

    def acknowledge(self, unit: Unit) -> None:
        assert self.connection is not None
        self.connection.sendall(encode_ack(unit.sequence))

    def close(self) -> None:
        self.listener.close()
        if self.connection is not None:
            self.connection.close()


@dataclass
class Settled:
    """As much of a job, and of the calls that it answered, as a tap looks at."""

    job: Any
    answered: list[tuple[Any, Any]]


def settled(
    requests: int = 1, size: int = 100, outcome: Any = b"answer", cancelled: bool = False, wait_ns: int = 0
) -> Settled:
    ticket = SimpleNamespace(received_ns=0, decode_ns=0)
    job = SimpleNamespace(
        batch=SimpleNamespace(tickets=[ticket] * requests, rows=requests, taken_ns=wait_ns),
        version=SimpleNamespace(pipeline=None),
        outcomes=[outcome] * requests,
        decision_ids=new_ids(requests, 1_700_000_000_000),
        assembled_ns=wait_ns,
        executed_ns=wait_ns + MS,
        encoded_ns=wait_ns + MS,
        runs=1,
        failed=False,
    )
    call = SimpleNamespace(cancelled=cancelled)
    return Settled(job, [(call, SimpleNamespace(body=b"b" * size))] * requests)


def offer(tap: ShadowTap, one: Settled) -> None:
    tap.offer(one.job, one.answered)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    made = Peer(tmp_path / "s.sock")
    yield made
    made.close()


@pytest.fixture
def tap(tmp_path: Path) -> Iterator[ShadowTap]:
    made = ShadowTap("two", tmp_path / "s.sock", 1.0, 10_000)
    yield made
    made.close()
    assert made.join(10)


def connected(tap: ShadowTap, peer: Peer) -> None:
    peer.accept()
    eventually(lambda: tap.counts()["connected"])


def test_what_was_answered_arrives_as_it_was(tap: ShadowTap, peer: Peer) -> None:
    connected(tap, peer)
    one = settled(requests=3)
    offer(tap, one)
    unit = peer.read()
    assert (unit.rows, unit.execute_ns) == (3, MS)
    assert [asked.decision_id for asked in unit.asked] == one.job.decision_ids
    assert {(asked.body, asked.answer, asked.status) for asked in unit.asked} == {(b"b" * 100, b"answer", 0)}
    peer.acknowledge(unit)
    eventually(lambda: tap.counts()["acknowledged"] == 3)


def test_an_error_arrives_with_its_status_and_a_cancelled_call_not_at_all(tap: ShadowTap, peer: Peer) -> None:
    connected(tap, peer)
    offer(tap, settled(cancelled=True))
    assert tap.counts()["sampled"] == 0
    offer(tap, settled(outcome=ExecutionFailed("broken")))
    (asked,) = peer.read().asked
    assert (asked.answer, asked.status) == (b"broken", 13)


def test_without_a_process_all_is_dropped_and_counted(tap: ShadowTap) -> None:
    offer(tap, settled(requests=5))
    counts = tap.counts()
    assert counts["sampled"] == counts["dropped_down"] == 5
    assert counts["waiting_bytes"] == 0


def test_a_process_that_never_answers_costs_the_window_and_the_budget(tap: ShadowTap, peer: Peer) -> None:
    connected(tap, peer)
    for _ in range(100):
        offer(tap, settled(size=1000))

    def full() -> bool:
        offer(tap, settled(size=1000))
        counts = tap.counts()
        return counts["sent"] > 0 and counts["waiting_bytes"] > 0 and counts["dropped_budget"] > 80

    eventually(full)
    counts = tap.counts()
    assert counts["waiting_bytes"] <= 10_000
    # What it has and has not acknowledged is bounded like what waits.
    assert counts["sent"] <= min(WINDOW, 20)
    # What is acknowledged makes room for the next.
    peer.acknowledge(peer.read())
    eventually(lambda: tap.counts()["sent"] > counts["sent"])


def test_closing_ends_a_send_that_nobody_reads(tmp_path: Path, peer: Peer) -> None:
    tap = ShadowTap("two", tmp_path / "s.sock", 1.0, 64 << 20)
    connected(tap, peer)
    offer(tap, settled(size=32 << 20))
    eventually(lambda: tap.counts()["sent"] == 1)
    tap.close()
    assert tap.join(10)
    counts = tap.counts()
    assert counts["sampled"] == counts["dropped_closed"] == 1
    offer(tap, settled())
    assert tap.counts()["dropped_down"] == 1


def test_what_is_under_way_is_lost_with_the_connection_and_the_next_one_goes_on(
    tap: ShadowTap, peer: Peer
) -> None:
    connected(tap, peer)
    offer(tap, settled(requests=2))
    peer.read()
    assert peer.connection is not None
    peer.connection.close()
    connected(tap, peer)
    eventually(lambda: tap.counts()["connections"] == 2)
    offer(tap, settled())
    unit = peer.read()
    peer.acknowledge(unit)
    eventually(lambda: tap.counts()["acknowledged"] == 1)
    counts = tap.counts()
    assert (counts["sampled"], counts["dropped_lost"]) == (3, 2)


@pytest.mark.parametrize("answer", [b"\x00" * 16, encode_ack(99)], ids=["garbage", "of another unit"])
def test_a_peer_that_answers_anything_else_is_left(tap: ShadowTap, peer: Peer, answer: bytes) -> None:
    connected(tap, peer)
    offer(tap, settled())
    peer.read()
    assert peer.connection is not None
    with peer.connection:
        peer.connection.sendall(answer)
        connected(tap, peer)
    assert tap.counts()["dropped_lost"] == 1


def test_nothing_wakes_the_sender_where_nothing_is_sampled(tmp_path: Path, peer: Peer) -> None:
    tap = ShadowTap("two", tmp_path / "s.sock", 0.0, 10_000)
    connected(tap, peer)
    for _ in range(100):
        offer(tap, settled())
    counts = tap.counts()
    assert (counts["sampled"], counts["sent"]) == (0, 0)
    tap.close()
    assert tap.join(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "shadow-two"]


def test_every_sampled_request_ends_once(tap: ShadowTap, peer: Peer) -> None:
    connected(tap, peer)
    units = 0

    def work() -> None:
        nonlocal units
        while units < 400:
            unit = peer.read()
            units += len(unit.asked)
            peer.acknowledge(unit)

    reader = threading.Thread(target=work, daemon=True)
    reader.start()
    offered = 0
    while units < 400:
        offer(tap, settled(requests=2))
        offered += 2
    reader.join()
    tap.close()
    assert tap.join(10)
    counts = tap.counts()
    assert counts["sampled"] == offered
    ended = counts["acknowledged"] + sum(n for name, n in counts.items() if name.startswith("dropped_"))
    assert ended == offered


def test_a_pause_keeps_back_what_waits_and_drops_what_comes(tmp_path: Path, peer: Peer) -> None:
    clock = ManualClock(now_ns=0)
    pressure = Pressure()
    tap = ShadowTap("two", tmp_path / "s.sock", 1.0, 1 << 20, pressure, clock.now_ns)
    connected(tap, peer)
    offer(tap, settled())
    peer.acknowledge(peer.read())
    for at_ms in range(0, 1000, 50):
        pressure.ran(at_ms * MS, 40 * MS, 10 * MS)
    clock.advance(960 * MS)
    assert tap.counts()["paused"] == 1
    waiting = settled(wait_ns=959 * MS)
    offer(tap, waiting)
    counts = tap.counts()
    assert (counts["sent"], counts["dropped_paused"], counts["pauses"]) == (1, 1, 1)
    clock.advance(QUIET_NS)
    assert tap.counts()["paused"] == 0
    tap.close()
    assert tap.join(10)


def ran_for(
    pressure: Pressure, start_ns: int, for_ns: int, wait_ns: int, execute_ns: int, gap_ns: int = 0
) -> int:
    """Batches one after the other, with nothing for `gap_ns` in between; gives the time at the end."""
    now_ns = start_ns
    while now_ns < start_ns + for_ns:
        now_ns += execute_ns + gap_ns
        pressure.ran(now_ns, wait_ns, execute_ns)
    return now_ns


@pytest.mark.parametrize("execute_ns", [50_000, MS, 20 * MS])
def test_it_pauses_while_waits_are_long_and_resumes_when_they_are_short(execute_ns: int) -> None:
    pressure = Pressure()
    wait_ns = round(2 * (PAUSE_ABOVE * execute_ns + PAUSE_SLACK_NS))
    now_ns = ran_for(pressure, 0, 1000 * MS, wait_ns, execute_ns)
    assert pressure.paused
    assert pressure.holds(now_ns)
    between = round((PAUSE_ABOVE + RESUME_BELOW) / 2 * execute_ns + 0.75 * PAUSE_SLACK_NS)
    now_ns = ran_for(pressure, now_ns, 2000 * MS, between, execute_ns)
    assert pressure.paused, "it does not flutter"
    now_ns = ran_for(pressure, now_ns, 2000 * MS, 0, execute_ns)
    assert not pressure.paused
    assert pressure.pauses == 1
    assert 2000 * MS < pressure.paused_ns(now_ns) < now_ns
    now_ns = ran_for(pressure, now_ns, 2000 * MS, between, execute_ns)
    assert not pressure.paused, "nor the other way"


def test_a_single_slow_batch_is_no_pressure() -> None:
    pressure = Pressure()
    now_ns = ran_for(pressure, 0, 100 * MS, 0, MS)
    pressure.ran(now_ns + 10 * MS, 10 * MS, MS)
    assert not pressure.paused


def test_half_of_the_load_is_no_pressure() -> None:
    pressure = Pressure()
    # Each batch came while the one before it was running, and then nothing for as long again.
    ran_for(pressure, 0, 5000 * MS, 10 * MS, 10 * MS, 10 * MS)
    assert pressure.pauses == 0


def test_a_quiet_primary_resumes_by_itself() -> None:
    pressure = Pressure()
    now_ns = ran_for(pressure, 0, 1000 * MS, 50 * MS, MS)
    assert pressure.holds(now_ns)
    before_ns = pressure.paused_ns(now_ns)
    assert not pressure.holds(now_ns + QUIET_NS)
    assert pressure.paused_ns(now_ns + 100 * QUIET_NS) == before_ns + QUIET_NS
    pressure.ran(now_ns + 4 * QUIET_NS, 0, MS)
    assert not pressure.paused
