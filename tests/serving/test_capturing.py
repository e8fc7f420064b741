"""What capture chooses, and that a disk that is full or stuck costs captures and nothing else."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from steelyard._native.decision import new_ids
from steelyard.clock import ManualClock
from steelyard.errors import ExecutionFailed, InvalidRequest, Overloaded
from steelyard.evidence.payload_files import all_entries
from steelyard.models.evidence import Capture, Evidence
from steelyard.rollout.sampling import Sampler
from steelyard.serving.capturing import Captures
from steelyard.wire import decode_request, encode_request
from tests.support.waiting import eventually

BODY = encode_request("m", "", "id", {}, [("x", "FP32", (1, 1), np.ones(1, "f4").tobytes())], [])


class OneModel:
    """As much of a catalog as captures look at."""

    def __init__(self, evidence: Evidence) -> None:
        self.version: Any = SimpleNamespace(
            model="m",
            number=1,
            digest="sha256:" + "0" * 64,
            manifest=SimpleNamespace(evidence=evidence),
            spec=SimpleNamespace(inputs=()),
            pipeline=None,
            in_canary=False,
            canary=None,
            capture=None,
        )

    def watch(self, changed: Any) -> None:
        self.changed = changed

    def served(self, name: str) -> dict[int, Any]:
        return {1: self.version}


class Bench:
    def __init__(self, data: Path, evidence: Evidence) -> None:
        self.data = data
        self.clock = ManualClock()
        self.catalog: Any = OneModel(evidence)
        self.captures = Captures(self.catalog, data, "worker-0", self.clock)
        self.catalog.changed("m")
        self.tap = self.catalog.version.capture

    def offer(self, *outcomes: Any) -> list[str]:
        """Offers a batch with these outcomes; gives the decision ids."""
        ids = new_ids(len(outcomes), self.clock.unix_ns() // 1_000_000)
        failed = any(not isinstance(outcome, bytes) for outcome in outcomes)
        job = SimpleNamespace(outcomes=list(outcomes), decision_ids=ids, failed=failed)
        self.tap.offer(job, [(SimpleNamespace(cancelled=False), decode_request(BODY)) for _ in outcomes])
        return ids

    @property
    def counts(self) -> dict[str, int]:
        return self.captures.counts()["m"]

    def settled(self) -> dict[str, int]:
        """The counts when nothing waits any more."""
        eventually(lambda: self.counts["waiting_bytes"] == 0)
        counts = self.counts
        assert counts["chosen"] == counts["kept"] + counts["digested"] + sum(
            count for name, count in counts.items() if name.startswith("dropped_")
        )
        return counts

    def kept(self) -> dict[str, tuple[str, ...]]:
        """Decisions on the disk, with the reasons."""
        self.settled()
        return {entry.head.decision_id: entry.read().reasons for entry in all_entries(self.data)}


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[Any]:
    made: list[Bench] = []

    def make(payload_digest: bool = False, **capture: Any) -> Bench:
        evidence = Evidence(payload_digest=payload_digest, capture=Capture(**capture))
        made.append(Bench(tmp_path, evidence))
        return made[-1]

    yield make
    for bench in made:
        bench.captures.close(5)


def test_a_share_is_chosen_by_the_decision_id(benches: Any) -> None:
    bench = benches(rate=0.5)
    ids = [one for _ in range(10) for one in bench.offer(*[b"answer"] * 20)]
    taken = {one for one in ids if Sampler(0.5).takes(one)}
    assert 0 < len(taken) < len(ids)
    assert bench.kept() == dict.fromkeys(taken, ("rate",))


def test_errors_and_refusals_are_kept_for_their_reasons_alone(benches: Any) -> None:
    bench = benches(reasons=("error", "refusal"))
    bench.offer(b"answer", b"answer")
    _, failed = bench.offer(b"answer", ExecutionFailed("broke"))
    refused, overloaded = new_ids(2, 0)
    bench.tap.refused(refused, decode_request(BODY), InvalidRequest("bad"))
    bench.tap.refused(overloaded, decode_request(BODY), Overloaded("full", 0))
    bench.tap.refused("", None, Overloaded("it could not be read", 0))
    assert bench.kept() == {failed: ("error",), refused: ("refusal",), overloaded: ("refusal",)}
    (payload,) = [entry.read() for entry in all_entries(bench.data) if entry.head.decision_id == failed]
    assert (payload.status, payload.answer, payload.request) == (13, b"broke", BODY)


def test_a_canarys_answers_are_the_candidates(benches: Any) -> None:
    bench = benches(reasons=("canary",))
    version = bench.catalog.version
    bench.offer(b"nobody's")
    version.in_canary, version.canary = True, object()
    bench.offer(b"the primary's")
    version.canary = None
    (candidates,) = bench.offer(b"the candidate's")
    assert bench.kept() == {candidates: ("canary",)}


def test_of_what_is_too_large_or_not_chosen_digests_are_kept(benches: Any) -> None:
    bench = benches(payload_digest=True, rate=0.5, max_bytes=len(BODY) + 10)
    small, large = (
        next(one for one in bench.offer(*[size * b"a"] * 64) if Sampler(0.5).takes(one)) for size in (10, 11)
    )
    bench.settled()
    found = {entry.head.decision_id: entry.read() for entry in all_entries(bench.data)}
    assert len(found) == 128
    assert (found[small].kept, found[large].kept) == (True, False)
    assert found[large].answer == b""
    assert all(one.kept is (one.reasons == ("rate",) and one.answer != b"") for one in found.values())


def test_a_disk_that_is_stuck_keeps_nobody_waiting_and_memory_bounded(benches: Any) -> None:
    bench = benches(rate=1.0, max_waiting_bytes=100_000)
    stuck, free = threading.Event(), threading.Event()

    def note(said: dict[str, Any]) -> bool:
        stuck.set()
        return free.wait(30)

    bench.captures.note = note
    bench.offer(b"first")
    assert stuck.wait(30)
    for _ in range(100):
        bench.offer(*[b"a" * 1000] * 10)
    counts = bench.counts
    assert counts["waiting_bytes"] <= 100_000
    assert counts["dropped_budget"] > 900
    free.set()
    assert bench.settled()["kept"] == counts["chosen"] - counts["dropped_budget"]


def test_a_disk_that_refuses_is_counted_and_asked_again_later(benches: Any, tmp_path: Path) -> None:
    (tmp_path / "payloads").write_text("in the way")
    bench = benches(rate=1.0)
    bench.offer(*[b"a"] * 5)
    assert bench.settled()["dropped_disk"] == 5
    (tmp_path / "payloads").unlink()
    bench.offer(b"too soon")
    assert bench.settled()["dropped_disk"] == 6
    bench.clock.advance(2_000_000_000)
    (kept,) = bench.offer(b"again")
    assert list(bench.kept()) == [kept]


def test_what_waits_is_written_at_the_end_and_nothing_is_taken_after(benches: Any) -> None:
    bench = benches(rate=1.0)
    ids = bench.offer(*[b"a"] * 50)
    assert bench.captures.close(10)
    assert set(bench.kept()) == set(ids)
    bench.offer(b"late")
    assert bench.settled()["dropped_budget"] == 1


def test_a_model_that_asks_for_nothing_has_no_tap(tmp_path: Path) -> None:
    threads = threading.active_count()
    assert Bench(tmp_path, Evidence()).tap is None
    assert Bench(tmp_path, Evidence(mode="off", capture=Capture(rate=1.0))).tap is None
    assert threading.active_count() == threads
