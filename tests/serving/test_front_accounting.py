"""Calls that end in the http2 front are counted as their callers saw them end, and are in flight until then."""

import asyncio
import gzip
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard._native import path
from steelyard.fronts.http2 import front
from steelyard.fronts.http2.patience import Patience
from steelyard.observe.layout import Refusal
from steelyard.observe.segment import SegmentReader, SlotCounts
from steelyard.rpc.limits import Limits
from steelyard.serving import plain
from steelyard.wire.generated import grpc_service as pb
from tests.attacks.attacker import INFER, MAX_WINDOW, Attacker, head, message
from tests.attacks.frames import HEADERS
from tests.attacks.slow import SlowFront, slow_front
from tests.runtime import models
from tests.serving.test_engine import Server
from tests.serving.test_path import body
from tests.support.waiting import until

ASKED = body("scaled", (1, 3))


@pytest.fixture(params=[path, plain], ids=["native", "plain"])
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    models.scaled(tmp_path / "scaled" / "1")
    running = Server(tmp_path, 10**9, request.param)
    await running.loader.load_all()
    yield running
    await asyncio.wait_for(running.engine.drain(), 10.0)
    assert running.engine.in_flight == 0
    running.engine.close()
    running.loader.close()
    assert running.unaccounted() == {}
    os.close(running.descriptor)


@asynccontextmanager
async def asking(
    server: Server, limits: Limits | None = None, window: int = MAX_WINDOW, compress: bool = False
) -> AsyncIterator[tuple[SlowFront, Attacker]]:
    async with slow_front(Patience(), limits, compress=compress, engine=server.engine) as slow:
        with await asyncio.to_thread(Attacker, slow.address, window=window) as attacker:
            assert await asyncio.to_thread(attacker.settle)
            yield slow, attacker


def random_body(rows: int) -> bytes:
    """A request whose answer gets hardly smaller when it is compressed."""
    request = pb.ModelInferRequest(model_name="scaled")
    request.inputs.add(name="X", datatype="FP32", shape=(rows, 3))
    request.raw_input_contents.append(np.random.default_rng(5).random((rows, 3), np.float32).tobytes())
    whole: bytes = request.SerializeToString()
    return whole


def compressed(attacker: Attacker, asked: bytes) -> bytes:
    """The frames of a call whose message says that it is compressed."""
    return attacker.call(head(INFER, (b"grpc-encoding", b"gzip")), message(asked, compressed=True), end=True)


def unknown(server: Server) -> SlotCounts:
    """What is counted of calls of which no model is known."""
    return SegmentReader(server.descriptor).slot(0)


async def test_messages_that_do_not_inflate_are_counted_as_they_are_refused(server: Server) -> None:
    async with asking(server, Limits(max_message_bytes=100_000)) as (_, attacker):
        for asked in (b"not gzip", gzip.compress(bytes(200_000)), gzip.compress(ASKED)):
            attacker.send(compressed(attacker, asked))
        await asyncio.to_thread(attacker.wait_for_trailers, 3)
    ended = unknown(server)
    assert (ended.received, ended.refused_total) == (2, 2)
    assert (ended.refused[Refusal.INVALID], ended.refused[Refusal.TOO_LARGE]) == (1, 1)
    assert server.counts("scaled").answered == 1
    assert len(server.told) == 3


async def test_calls_that_wait_to_be_inflated_are_in_flight(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()

    def inflate(encoding: bytes, held: bytes, max_bytes: int) -> bytes:
        free.wait()
        return gzip.decompress(held)

    monkeypatch.setattr(front, "inflate", inflate)
    engine = server.engine
    try:
        async with asking(server) as (_, attacker):
            calls = [compressed(attacker, gzip.compress(ASKED)) for _ in range(4)]
            attacker.send(b"".join(calls))
            await until(lambda: engine.in_flight == 4)
            attacker.reset(int.from_bytes(calls[-1][5:9]))
            await until(lambda: engine.in_flight == 3)
            assert unknown(server).cancelled == 1
            drained = asyncio.ensure_future(engine.drain())
            await until(lambda: not engine.accepting)
            attacker.send(compressed(attacker, gzip.compress(ASKED)))
            await asyncio.to_thread(attacker.wait_for_trailers, 1)
            assert unknown(server).refused[Refusal.NOT_READY] == unknown(server).refused_total == 1
            assert not drained.done()
            free.set()
            await asyncio.wait_for(drained, 10.0)
            await asyncio.to_thread(attacker.wait_for_trailers, 4)
        assert server.counts("scaled").answered == 3
    finally:
        free.set()


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("compress", [False, True], ids=["as it is", "compressed"])
async def test_answers_that_find_no_room_are_failures(server: Server, size: str, compress: bool) -> None:
    rows, room = (1, 600) if size == "small" else (50_000, 1_000_000)
    asked = message(random_body(rows))
    fields = head(INFER, *([(b"grpc-accept-encoding", b"gzip")] if compress else []))
    limits = Limits(send_bytes=room)
    async with asking(server, limits, window=0, compress=compress) as (slow, attacker):

        def ask() -> None:
            begun = attacker.call(fields)
            attacker.send(begun)
            attacker.upload(int.from_bytes(begun[5:9]), asked, end=True)

        async def ended(count: int) -> Any:
            return await until(lambda: _ended(server) == count and server.counts("scaled"))

        refused = 0
        for number in range(1, 8):
            await asyncio.to_thread(ask)
            counts = await ended(number)
            assert await asyncio.to_thread(attacker.settle)
            refused = attacker.trailers
            assert counts.failed == refused
        assert 0 < refused < 7
        assert attacker.came[HEADERS] == 7
        assert slow.front.held.outgoing <= room
        assert sum(error is not None for *_, error, _ in server.told) == refused


def _ended(server: Server) -> int:
    counts = server.counts("scaled")
    return int(counts.answered + counts.failed)
