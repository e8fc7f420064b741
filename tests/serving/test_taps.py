"""Taps on a real engine: a shadow's fault is its own."""

import logging
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.rollout.directive import Tap
from steelyard.rollout.labels import Holder
from steelyard.serving.shadowing import ShadowTap
from steelyard.serving.taps import Taps
from tests.runtime import models
from tests.serving.test_engine import Server
from tests.support.waiting import until

ROW = np.ones((1, 3), np.float32)


@pytest.fixture(params=[0, 10**9], ids=["executor", "inline"])
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    models.scaled(tmp_path / "scaled" / "1")
    running = Server(tmp_path, request.param)
    await running.loader.load_all()
    yield running
    await running.engine.drain()
    running.engine.close()
    running.loader.close()
    assert running.unaccounted() == {}
    os.close(running.descriptor)


def tap_of(server: Server, number: int, path: Path) -> Tap:
    version = server.catalog.route("scaled", "")
    return Tap(number, Holder(version.number, version.digest), str(path / f"{number}.sock"), 1.0, 1000)


async def test_a_tap_with_a_fault_is_taken_off_and_costs_its_primary_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taps = Taps(server.catalog)
    taps.direct("scaled", [tap_of(server, number, tmp_path) for number in (1, 2)])
    version = server.catalog.route("scaled", "")
    broken, whole = version.shadows

    def fail(*_: Any) -> None:
        raise KeyError("a fault")

    offer = ShadowTap.offer
    monkeypatch.setattr(
        ShadowTap, "offer", lambda tap, *about: fail() if tap is broken else offer(tap, *about)
    )
    for _ in range(3):
        assert (await server.ask("scaled", ROW, "FP32").outcome).model_version == "1"
    await until(lambda: whole.counts()["sampled"] == 3)
    assert version.shadows == (whole,)
    assert broken.is_closed
    assert not server.engine.in_flight
    assert not version.in_flight
    assert [r.levelno for r in caplog.records if r.message == "shadow.fault"] == [logging.ERROR]
    # What happens to its version later does not bring it back.
    taps._attach("scaled")
    assert version.shadows == (whole,)
    taps.close()


async def test_a_tap_that_cannot_be_opened_is_left_out_until_the_next_directive(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taps = Taps(server.catalog)
    version = server.catalog.route("scaled", "")
    first, second, third = (tap_of(server, number, tmp_path) for number in (1, 2, 3))

    def none_left(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    taps.direct("scaled", [first])
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", none_left)
        taps.direct("scaled", [first, second])
    with monkeypatch.context() as without:
        without.setattr(os, "eventfd", lambda *_: (_ for _ in ()).throw(OSError(24, "Too many open files")))
        taps.direct("scaled", [first, third])
    assert [tap.name for tap in version.shadows] == ["scaled-1"]
    assert [counts["number"] for counts in taps.counts()] == [1]
    assert taps.not_opened == 2
    assert (await server.ask("scaled", ROW, "FP32").outcome).model_version == "1"
    taps.direct("scaled", [first, second])
    assert [tap.name for tap in version.shadows] == ["scaled-1", "scaled-2"]
    taps.close()
