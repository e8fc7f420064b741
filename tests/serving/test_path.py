"""The native request path against its plain twin: any mix of calls ends the same way, and is counted the same."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard._native import path
from steelyard.errors import SteelyardError
from steelyard.rpc.happening import Happening
from steelyard.serving import plain
from steelyard.wire import decode_request
from steelyard.wire.generated import grpc_service as pb
from tests.runtime import models
from tests.serving.test_engine import RecordedCall, Server

LONG_AGO, FAR_AWAY = 1, 1 << 63 - 1


def body(model: str, shape: tuple[int, ...], **more: Any) -> bytes:
    """A request of zeros; `more`: version, id, parameters, outputs."""
    request = pb.ModelInferRequest(
        model_name=model, model_version=more.get("version", ""), id=more.get("id", "")
    )
    whole = model == "tokens"
    tensor = np.full(shape, more.get("value", 0), np.int64 if whole else np.float32)
    request.inputs.add(name="X", datatype="INT64" if whole else "FP32", shape=shape)
    request.raw_input_contents.append(tensor.tobytes())
    for name in more.get("outputs", ()):
        request.outputs.add(name=name)
    for name, value in more.get("parameters", {}).items():
        request.parameters[name].int64_param = value
    return request.SerializeToString()


bodies = st.one_of(
    st.just(b"no message"),
    st.builds(
        body,
        st.sampled_from(["scaled", "centred", "wide", "nobody"]),
        st.sampled_from([(1, 3), (2, 3), (0, 3), (1, 4), (3,)]),
        version=st.sampled_from(["", "1", "2"]),
        id=st.sampled_from(["", "mine"]),
        outputs=st.sampled_from([(), ("Y",), ("Z",)]),
        parameters=st.sampled_from([{}, {"priority": 3}, {"timeout": 1}, {"timeout": -1}]),
    ),
    st.builds(body, st.just("scaled"), st.sampled_from([(1, 3), (2, 3)])),
    st.builds(body, st.just("tokens"), st.just((1,)), value=st.sampled_from([1, 999])),
)
calls = st.tuples(bodies, st.sampled_from([0, 0, 0, LONG_AGO, FAR_AWAY]), st.booleans())


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("path")
    models.embedding(root / "tokens" / "1")
    models.scaled(root / "scaled" / "1")
    models.centred(root / "centred" / "1")
    models.identity(root / "wide" / "1", models.FLOAT, ["n", "width"])
    return root


async def outcomes(root: Path, twin: Any, asked: list[tuple[bytes, int, bool]], inline: bool) -> Any:
    """What each call heard, without what is new in every answer, and what the counters say."""
    server = Server(root, 10**9 if inline else 0, twin, logs=False)
    await server.loader.load_all()
    try:
        made = []
        for number, (message, deadline_ns, goes) in enumerate(asked):
            # Whose requests fail often is queued by itself: a caller for each keeps that out of it.
            call = RecordedCall(str(number), deadline_ns)
            server.engine.submit(call, message)
            if goes:
                server.engine.cancel(call)
            made.append(call)
        await server.engine.drain()
        heard = [_heard(call) for call in made]
        counts = [
            (slot.received, slot.answered, slot.failed, slot.cancelled, dict(slot.refused), slot.rows)
            for slot in map(server.counts, ("scaled", "centred", "wide", "tokens"))
        ]
        assert server.unaccounted() == {}
        assert server.engine.in_flight == 0
        return heard, counts
    finally:
        server.engine.close()
        server.loader.close()
        os.close(server.descriptor)


def _heard(call: RecordedCall) -> Any:
    assert call.place is None
    if not call.outcome.done():
        return None
    outcome = call.outcome.result()
    if isinstance(outcome, SteelyardError):
        return type(outcome), str(outcome).split(" ms in the queue")[0][:60]
    del outcome.parameters["steelyard_decision_id"]
    return outcome.SerializeToString(deterministic=True), sorted(call.trailing)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(calls, max_size=40), inline=st.booleans())
def test_any_mix_of_calls_ends_as_it_does_in_the_plain_twin(
    repository: Path, asked: list[tuple[bytes, int, bool]], inline: bool
) -> None:
    native = asyncio.run(outcomes(repository, path, asked, inline))
    assert native == asyncio.run(outcomes(repository, plain, asked, inline))


class Told:
    """A call of the rpc layer, as far as `begin` looks at it."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.deadline_ns = 7
        self.owner: Any = None


@given(
    st.lists(
        st.tuples(st.sampled_from(Happening), st.sampled_from(["infer", "other"]), st.binary(), st.booleans())
    )
)
def test_the_plain_requests_of_a_read_arrive_together_and_in_order(came: list[Any]) -> None:
    found = []
    for twin in (path, plain):
        events = [(kind, Told(sys.intern(method)), body, small) for kind, method, body, small in came]
        others: list[Any] = []
        arrivals, size = twin.begin(events, "connection", None, sys.intern("infer"), 5, others)
        places = {id(event[1]): place for place, event in enumerate(events)}
        assert all(call.rpc.owner is call and call.deadline_ns == 7 for call, _, _ in arrivals)
        assert size == sum(len(body) for _, body, _ in arrivals)
        assert {now_ns for _, _, now_ns in arrivals} <= {5}
        found.append(
            (
                [(places[id(call.rpc)], body) for call, body, _ in arrivals],
                [places[id(rpc)] for _, rpc, *_ in others],
            )
        )
    assert found[0] == found[1]
    assert sorted([place for place, _ in found[0][0]] + found[0][1]) == list(range(len(came)))


@given(st.lists(st.sampled_from([(), ("Y",)])))
def test_whether_anybody_names_outputs(named: list[tuple[str, ...]]) -> None:
    requests = [decode_request(body("scaled", (1, 3), outputs=outputs)) for outputs in named]
    assert path.any_outputs_asked(requests) == plain.any_outputs_asked(requests) == any(named)


async def test_as_many_outcomes_as_tickets_or_nobody_is_told() -> None:
    for twin in (path, plain):
        with pytest.raises(ValueError, match="expected 0 outcomes and decision ids, came 1 and 0"):
            twin.answer_all([], [b""], [], (), 10, [])
