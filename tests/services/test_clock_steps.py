"""A wall clock that is set back by an hour while a server serves: nothing is lost, doubled, hidden or removed."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from steelyard.evidence.payload_files import find
from steelyard.evidence.record import Decision, unpack
from steelyard.evidence.store import sealed_files
from tests.services.test_sealing import ask
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.faults import Faults, faulty
from tests.support.recorded import all_gaps, everything
from tests.support.server import Server
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
HOUR_NS = 3600 * 10**9
CALLS = 12

# Half an hour of retention: less than the step.
MANIFEST = '[evidence]\nmode = "{mode}"\nretention_days = 0.02\n[evidence.capture]\nrate = 1.0\nretention_days = 0.02\n'


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[Faults]:
    with faulty(tmp_path, "/journal/") as found:
        yield found


def told(server: Server, model: str) -> list[str]:
    """The decision ids of some calls, in their order."""
    found = []
    with Asker(server.address) as asker:
        for _ in range(CALLS):
            answer = asker.call("ModelInfer", request(model, ONES))
            found.append(answer.parameters["steelyard_decision_id"].string_param)
    return found


def is_sealed(server: Server, ids: Sequence[str]) -> bool:
    """Whether these, which are all so far, are in sealed files."""
    return sum(file.summary.records for file in sealed_files(server.data)) == len(ids)


def recorded(server: Server) -> dict[str, Decision]:
    found = [unpack(record) for record in everything(server.data)]
    assert len({one.decision_id for one in found}) == len(found)
    return {one.decision_id: one for one in found}


def test_a_clock_that_is_set_back(start: Callable[..., Server], tmp_path: Path, faults: Faults) -> None:
    repository = tmp_path / "models"
    for model, mode in (("double", "best_effort"), ("careful", "required")):
        models.put(repository, model, models.scaled(), manifest=MANIFEST.format(mode=mode))
    faults.set(clock_ns=HOUR_NS)
    server = start(repository, journal_segment_age_s=0.2).wait_ready()
    before = told(server, "double") + told(server, "careful")
    eventually(lambda: is_sealed(server, before))
    # Once in the middle of a file of the journal, which then holds both.
    before += told(server, "double")
    faults.set(clock_ns=0)
    after = told(server, "double") + told(server, "careful")

    # One process: its ids only rise, ahead of the clock while it is behind.
    assert before + after == sorted({*before, *after})
    eventually(lambda: is_sealed(server, before + after))
    found = recorded(server)
    assert set(found) == {*before, *after}
    assert min(found[one].received_unix_ns for one in before) > max(
        found[one].received_unix_ns for one in after
    )
    for one in found.values():
        for took_ns in (one.decode_ns, one.queue_ns, one.assemble_ns, one.execute_ns, one.encode_ns):
            assert 0 <= took_ns <= one.total_ns < 60 * 10**9
    listed = ask(server, "decisions", "--since", "30m", "--limit", "1000")["decisions"]
    assert {row["decision_id"] for row in listed} == set(found)
    for one in (before[0], before[-1], after[0], after[-1]):
        assert ask(server, "explain", one)["decision"]["decision_id"] == one
        assert eventually(lambda wanted=one: find(server.data, wanted)).read().decision_id == one
    server.stop()

    # The first look of a housekeeper removes what is old; what is sealed by a later one shows that it has looked.
    again = start(repository, journal_segment_age_s=0.2).wait_ready()
    all_told = before + after
    for _ in range(2):
        all_told += told(again, "double")
        eventually(lambda so_far=tuple(all_told): is_sealed(again, so_far))
    assert set(recorded(again)) == set(all_told)
    assert not all_gaps(again.data)
    assert not again.events("journal.removed")
    assert not again.events("payloads.removed")
    assert not again.events("journal.not_sealed")
    assert ask(again, "audit", "verify")["faults"] == []
