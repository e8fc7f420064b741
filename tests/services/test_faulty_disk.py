"""A disk that is slow, stuck, full or broken under a real server: who waits, who is refused, and what is counted."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.evidence.record import unpack
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.faults import UNTIL_TOLD, Answer, Faults, answers, faulty, is_on_disk_before
from tests.support.metrics import metrics
from tests.support.recorded import all_gaps, everything
from tests.support.server import Server
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
CALLS = 24


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    models.put(path, "double", models.scaled())
    models.put(path, "careful", models.scaled())
    (path / "careful" / "model.toml").write_text('[evidence]\nmode = "required"\n')
    return path


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[Faults]:
    """Of the journal's files."""
    with faulty(tmp_path, "/journal/") as found:
        yield found


def names(model: str) -> list[str]:
    """What a test names its requests; none is a part of another."""
    return [f"{model}-{number:04d}-asked" for number in range(CALLS)]


def call_all(ask: Asker, model: str) -> list[Any]:
    return [ask.start(request(model, ONES, id=name)) for name in names(model)]


def sent(faults: Faults, server: Server) -> dict[bytes, Answer]:
    """The answers that left the worker, by the name that their request had."""
    found = {}
    for answer in answers(faults.events(), server.worker_pid()):
        for name in (*names("double"), *names("careful")):
            if name.encode() in answer.body:
                found[name.encode()] = answer
    return found


def early(faults: Faults, server: Server) -> set[bytes]:
    """Names of those whose answer began to leave before their record was on disk."""
    events = faults.events()
    return {
        name
        for name, answer in sent(faults, server).items()
        if not is_on_disk_before(events, name, answer.began_ns)
    }


def test_no_byte_of_a_required_answer_leaves_before_its_record_is_on_disk(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    server = start(repository).wait_ready()
    faults.set(sync_delay_us=30_000)
    with Asker(server.address) as ask:
        # One after the other and all at once: commits of one, and of many.
        for name in names("careful")[:4]:
            assert ask.start(request("careful", ONES, id=name)).code() is grpc.StatusCode.OK
        for call in [ask.start(request("careful", ONES, id=name)) for name in names("careful")[4:]]:
            assert call.code() is grpc.StatusCode.OK
    # What a call wrote is logged when it returns, which may be after it was received.
    eventually(lambda: set(sent(faults, server)) == {name.encode() for name in names("careful")})
    assert early(faults, server) == set()


def test_the_same_is_seen_to_be_otherwise_where_nothing_waits(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    """What the test above looks at can tell: answers of a model that does not wait leave while a sync is held."""
    server = start(repository).wait_ready()
    faults.set(sync_delay_us=UNTIL_TOLD)
    with Asker(server.address) as ask:
        waiting = call_all(ask, "careful")
        assert [call.code() for call in call_all(ask, "double")] == [grpc.StatusCode.OK] * CALLS
        assert not any(call.done() for call in waiting)
        faults.set(sync_delay_us=0)
        assert [call.code() for call in waiting] == [grpc.StatusCode.OK] * CALLS
    eventually(lambda: len(sent(faults, server)) == 2 * CALLS)
    assert early(faults, server) == {name.encode() for name in names("double")}


def test_nobody_is_told_of_success_that_could_not_be_synced(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    server = start(repository).wait_ready()
    faults.set(sync_errno=errno.EIO)
    with Asker(server.address) as ask:
        calls = call_all(ask, "careful")
        assert [call.code() for call in calls] == [grpc.StatusCode.UNAVAILABLE] * CALLS
        assert [call.code() for call in call_all(ask, "double")] == [grpc.StatusCode.OK] * CALLS
        assert not {name for name in sent(faults, server) if name.startswith(b"careful")}
        faults.set(sync_errno=0)
        assert ask.start(request("careful", ONES)).code() is grpc.StatusCode.OK
    assert metrics(server, model="careful").outcome("answered") == 1
    assert server.events("journal.refused")
    eventually(lambda: server.events("journal.over"))
