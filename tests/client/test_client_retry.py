"""A client asks again when the server's pushback says so, and never otherwise."""

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.client import AsyncClient, Client, Retry
from steelyard.client.failures import Failure
from steelyard.client.retry import Attempts
from steelyard.errors import Overloaded, SteelyardError, TooLarge, Unavailable
from steelyard.wire.status import Status
from tests.client.refusing import Refusal, refusing

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def test_waits_as_long_as_the_server_says_and_asks_again():
    waits: list[float] = []
    script = [Refusal(pushback="40"), Refusal(UNAVAILABLE, pushback="0")]
    with refusing(script) as server, Client(server.address, sleep=waits.append) as client:
        result = client.infer("m", {})
    assert result.attempts == 3
    assert server.previous_attempts == [None, "1", "2"]
    assert 0.04 <= waits[0] <= 0.04 * 1.2
    assert waits[1] == 0


def test_gives_up_after_the_last_attempt():
    waits: list[float] = []
    script = [Refusal(pushback="7", decision_id="d-1"), Refusal(pushback="9", decision_id="d-2")]
    with (
        refusing(script) as server,
        Client(server.address, sleep=waits.append, retry=Retry(max_attempts=2)) as client,
        pytest.raises(Overloaded, match="refused as told") as caught,
    ):
        client.infer("m", {})
    assert caught.value.retry_after_ms == 9
    assert caught.value.decision_id == "d-2"
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Refusal(), TooLarge),
        (Refusal(UNAVAILABLE), Unavailable),
        (Refusal(pushback="-1"), Overloaded),
        (Refusal(UNAVAILABLE, pushback="-1"), Unavailable),
        (Refusal(INVALID, pushback="10"), SteelyardError),
    ],
)
def test_does_not_ask_again_unasked(refusal: Refusal, error: type[SteelyardError]):
    with (
        refusing([refusal]) as server,
        Client(server.address, sleep=lambda wait_s: pytest.fail("waited")) as client,
        pytest.raises(error),
    ):
        client.infer("m", {})
    assert server.previous_attempts == [None]


def test_does_not_wait_past_the_deadline():
    with (
        refusing([Refusal(pushback="60000")]) as server,
        Client(server.address, retry=Retry(max_wait_s=600), sleep=lambda s: pytest.fail("waited")) as client,
        pytest.raises(Overloaded),
    ):
        client.infer("m", {}, timeout_s=20)


def test_control_calls_are_retried_too():
    waits: list[float] = []
    with (
        refusing([Refusal(UNAVAILABLE, pushback="1")]) as server,
        Client(server.address, sleep=waits.append) as client,
    ):
        client.unload("m")
    assert len(waits) == 1


async def test_async_client_waits_and_asks_again():
    waits: list[float] = []

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)

    with refusing([Refusal(pushback="40")]) as server:
        async with AsyncClient(server.address, sleep=sleep) as client:
            result = await client.infer("m", {})
    assert result.attempts == 2
    assert server.previous_attempts == [None, "1"]
    assert 0.04 <= waits[0] <= 0.04 * 1.2


async def test_async_client_does_not_ask_again_unasked():
    with refusing([Refusal(UNAVAILABLE, decision_id="d-1")]) as server:
        async with AsyncClient(server.address) as client:
            with pytest.raises(Unavailable) as caught:
                await client.infer("m", {})
    assert caught.value.decision_id == "d-1"
    assert server.previous_attempts == [None]


failures = st.builds(
    Failure,
    code=st.sampled_from(list(Status)),
    message=st.just("refused"),
    pushback_ms=st.none() | st.integers(-1, 100_000),
    decision_id=st.none(),
)


@settings(deadline=None)
@given(
    st.integers(1, 6),
    st.floats(0, 60),
    st.floats(0, 1),
    st.none() | st.floats(0, 100),
    st.lists(failures, min_size=8, max_size=8),
    st.floats(0, 1),
)
def test_attempts_keep_every_bound(
    max_attempts: int,
    max_wait_s: float,
    jitter: float,
    deadline_s: float | None,
    met: list[Failure],
    uniform: float,
):
    retry = Retry(max_attempts=max_attempts, max_wait_s=max_wait_s, jitter=jitter)
    attempts = Attempts(retry, deadline_s, lambda: uniform)
    now_s = 0.0
    for failure in met:
        remaining_s, metadata = attempts.begin(now_s)
        assert metadata == (
            (("grpc-previous-rpc-attempts", str(attempts.made - 1)),) if now_s or metadata else ()
        )
        assert (remaining_s is None) == (deadline_s is None)
        wait_s = attempts.wait_s(failure, now_s)
        if wait_s is None:
            break
        assert failure.code in (Status.RESOURCE_EXHAUSTED, Status.UNAVAILABLE)
        assert failure.pushback_ms is not None
        assert 0 <= failure.pushback_ms / 1000 <= max_wait_s
        assert failure.pushback_ms / 1000 <= wait_s <= failure.pushback_ms / 1000 * (1 + jitter)
        now_s += wait_s
        assert deadline_s is None or now_s < deadline_s
    assert attempts.made <= max_attempts


@pytest.mark.parametrize("wrong", [{"max_attempts": 0}, {"max_wait_s": -1.0}, {"jitter": 2.0}])
def test_policy_refuses_what_makes_no_sense(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="expected max_attempts"):
        Retry(**wrong)  # type: ignore[arg-type]
