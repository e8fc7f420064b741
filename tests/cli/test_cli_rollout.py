"""`steelyard shadow` and `canary` with a real server: what they print, for people and programs, and how they end."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from steelyard.cli.main import main
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.server import Server
from tests.support.shadows import EVERY_S, PATIENCE_S, hand_over, patiently
from tests.support.waiting import eventually

GATE = """
[serving]
versions = { list = [1] }

[rollout.gate]
alpha = 0.1

[[rollout.gate.guardrail]]
on = "MEASURE"
margin = MARGIN
harm = HARM
"""


def gate(on: str = "disagreement", margin: float = 0.0001, harm: float = 0.99) -> str:
    return GATE.replace("MEASURE", on).replace("MARGIN", str(margin)).replace("HARM", str(harm))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Version 1 of each model doubles; version 2 does nearly, and version 3 does not."""
    root = tmp_path_factory.mktemp("rollout")
    for model, manifest in (
        ("prices", gate()),
        ("harmed", gate(margin=0.2, harm=0.4)),
        ("shared", gate("error_rate")),
        ("free", ""),
    ):
        for number, factor in enumerate((2.0, 2.000002, 2.5), 1):
            models.put(root / "models", model, models.scaled(factor), number, manifest)
    models.put(root / "models", "unlike", models.scaled(), 1, gate("error_rate"))
    models.put(root / "models", "unlike", models.two_inputs(), 2)
    server = Server(root / "models", root / "log").wait_ready()
    yield server
    server.stop()


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str]):
    """Runs a command on the server; gives its code, its stdout and its stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, "--data", str(server.data)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def read(run):
    """Runs a command with --json; gives its code and what it prints."""

    def read(*arguments: str) -> tuple[int, Any]:
        code, out, err = run(*arguments, "--json")
        assert not (out and err)
        return code, json.loads(out or err)

    return read


def ask(server: Server, model: str, requests: int = 20) -> None:
    with Asker(server.address) as asker:
        for number in range(requests):
            asker.call("ModelInfer", request(model, {"x": np.full((1, 4), number + 1, np.float32)}))


@contextmanager
def asked_again_and_again(server: Server, model: str) -> Iterator[None]:
    over = threading.Event()

    def call() -> None:
        while not over.wait(EVERY_S):
            ask(server, model)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield
    finally:
        over.set()
        caller.join()


def handed_over(server: Server, read, model: str, candidate: str, requests: int = 20) -> int:
    """How many requests it took for so many to be handed to a shadow that samples all."""

    def status() -> dict[str, Any]:
        shadows = read("shadow", "status", model)[1]["shadows"]
        return next(one for one in shadows if one["name"] == candidate)

    return hand_over(requests, lambda count: ask(server, model, count), status)


def until_compared(read, model: str, pairs: int) -> dict[str, Any]:
    """The only shadow's status, once it has compared so many pairs."""

    def compared() -> Any:
        (found,) = read("shadow", "status", model)[1]["shadows"]
        return found["pairs"] and found["pairs"]["pairs"] >= pairs and found

    return dict(patiently(compared))


def test_a_shadow_from_its_calibration_to_its_end(server: Server, run, read) -> None:
    assert run("shadow", "status", "prices")[::2] == (
        1,
        "error: model 'prices' has no shadow, and had none\n",
    )
    assert run("shadow", "worst", "prices")[0] == 1
    calibrate = ("shadow", "calibrate", "prices", "--requests", "20", "--reason", "weekly")
    calibrate += ("--timeout-s", str(PATIENCE_S))
    with asked_again_and_again(server, "prices"):
        code, out, _ = run(*calibrate)
        assert code == 0
        code, event = read(*calibrate)
    assert "requests asked again in" in out
    assert "absolute" in out
    assert (code, event["kind"], event["reason"]) == (0, "shadow.calibrated", "weekly")
    assert set(event["details"]["tolerances"]) == {"y"}

    start = ("shadow", "start", "prices", "--sample", "1", "--reason", "October")
    code, out, _ = run(*start, "--candidate", "3")
    assert (code, out.startswith("prices: shadow.started candidate 3, sample 1.0 (event ")) == (0, True)
    code, event = read(*start, "--candidate", "2")
    assert (code, event["kind"], event["details"]["candidate"]["version"]) == (0, "shadow.started", 2)
    sent = handed_over(server, read, "prices", "3")
    code, out, err = run("shadow", "stop", "prices", "--reason", "which?")
    assert (code, out) == (1, "")
    assert "has not one shadow; there is: 3, 2" in err
    code, event = read("shadow", "stop", "prices", "--candidate", "2", "--reason", "enough")
    assert (code, event["kind"], event["details"]["outcome"]) == (0, "shadow.stopped", "stopped")

    found = until_compared(read, "prices", 20)
    assert (found["name"], found["verdict"], found["agreement"]["share"]) == ("3", "undecided", 0.0)
    code, out, err = run("shadow", "status", "prices")
    assert (code, err) == (0, "")
    for part in (
        "prices: version 3 (",
        ") beside version 1 (",
        "sample 1, running: undecided",
        f"sampled {sent}, handed over 20",
        "agreement: 0.00 % of 20 pairs",
        "broken: close y 20",
        "errors: 0 of the primary only",
        "guardrail",
        "gate: undecided",
    ):
        assert part in out

    code, worst = read("shadow", "worst", "prices", "--limit", "2")
    assert (code, len(worst["disagreements"])) == (0, 2)
    decision = worst["disagreements"][0]["decision_id"]
    assert worst["disagreements"][0]["candidate"] == "3"
    code, out, _ = run("shadow", "worst", "prices")
    assert code == 0
    assert decision in out
    again = ("shadow", "replay", "prices", decision)
    code, out, _ = run(*again)
    assert (code, out.count("\n")) == (1, 4)
    assert "both now: differs by close y" in out
    code, replayed = read(*again)
    assert (code, replayed["reproduced"], replayed["primary"]["agrees"]) == (1, True, True)

    code, out, _ = run("shadow", "stop", "prices", "--reason", "seen enough")
    assert (code, "prices: shadow.stopped candidate 3, outcome stopped, pairs 20 (event " in out) == (0, True)
    code, out, _ = run("shadow", "status", "prices")
    assert (code, "no shadow runs; the last one ended" in out) == (0, True)
    assert "stopped: seen enough" in out
    assert "sample 1, ended: undecided" in out
    code, status = read("shadow", "status", "prices")
    assert (code, status["shadows"], status["last"]["outcome"]) == (0, [], "stopped")


def test_status_ends_with_1_where_a_shadow_was_harmful(server: Server, run, read) -> None:
    assert run("shadow", "start", "harmed", "--candidate", "3", "--reason", "a test")[0] == 0

    def ended() -> Any:
        ask(server, "harmed")
        code, status = read("shadow", "status", "harmed")
        return not status["shadows"] and (code, status["last"]["outcome"])

    assert patiently(ended) == (1, "harmful")
    code, out, _ = run("shadow", "status", "harmed")
    assert code == 1
    assert "gate: harmful, by disagreement" in out


def test_a_shadow_of_a_server_elsewhere_that_is_away(server: Server, run, read) -> None:
    # Nothing listens on this port of the loopback network.
    code, out, _ = run("shadow", "start", "free", "--candidate", "127.0.0.66:9", "--reason", "a test")
    assert (code, out.startswith("free: shadow.started candidate 127.0.0.66:9, sample 1.0")) == (0, True)
    handed_over(server, read, "free", "127.0.0.66:9")
    patiently(lambda: read("shadow", "status", "free")[1]["shadows"][0]["not_compared"] == {"down": 20})
    code, out, _ = run("shadow", "status", "free")
    assert code == 0
    assert "free: 127.0.0.66:9 beside version 3 (" in out
    assert "not compared: 20 down" in out
    assert "agreement: no pair yet" in out
    assert "gate: no guardrail in [rollout.gate] of model.toml, so no verdict" in out
    assert run("shadow", "stop", "free", "--candidate", "127.0.0.66:9", "--reason", "away")[0] == 0


def test_a_canary_from_its_start_to_its_promotion(server: Server, run, read) -> None:
    start = ("canary", "start", "shared", "--candidate", "2", "--reason", "a try")
    code, out, _ = run(*start, "--share", "0.25", "--steps", "0.25,0.5")
    assert (code, out.startswith("shared: canary.started candidate 2, share 0.25 (event ")) == (0, True)
    ask(server, "shared", 100)

    def counted() -> Any:
        code, found = read("canary", "status", "shared")
        assert code == 0
        return found["split"]["units"] == 100 and found

    found = eventually(counted)
    assert (found["share"], found["shares"], found["verdict"]) == (0.25, [0.25, 0.5], "undecided")
    code, out, _ = run("canary", "status", "shared")
    assert code == 0
    for part in (
        "shared: version 2 (",
        ") beside version 1 at 0.25 of 0.25, 0.5: undecided",
        "candidate",
        "split: asked 0.25, observed",
        "error_rate",
        "gate: undecided",
    ):
        assert part in out
    assert run(*start, "--share", "0.1")[2].startswith("error: model 'shared': ")
    code, event = read("canary", "stop", "shared", "--reason", "enough")
    assert (code, event["kind"], event["details"]["outcome"]) == (0, "canary.stopped", "stopped")
    assert run("canary", "stop", "shared", "--reason", "again")[::2] == (
        1,
        "error: model 'shared' has no canary\n",
    )
    assert read(*start, "--share", "0.5")[1]["details"]["shares"] == [0.5]
    code, out, _ = run("canary", "promote", "shared", "--reason", "we are sure")
    assert (code, out.startswith("shared: canary.promoted ") or "version 1 -> version 2" in out) == (0, True)
    assert read("label", "list", "shared")[1]["labels"][0]["version"] == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["shadow", "start", "prices", "--candidate", "9"], "has no version '9' in the repository"),
        (["shadow", "start", "prices", "--candidate", "1"], "in production already"),
        (["shadow", "start", "nothing", "--candidate", "2"], "'nothing'"),
        (["shadow", "start", "unlike", "--candidate", "2"], "input 'x': expected FP32"),
        (
            ["shadow", "start", "free", "--candidate", "h:1", "--token-file", "x"],
            "token: expected TLS to h:1",
        ),
        (
            ["shadow", "start", "free", "--candidate", "h:0"],
            "remote: address: expected HOST:PORT with a port",
        ),
        (["shadow", "stop", "unlike"], "has not one shadow; there is: none"),
        (["shadow", "stop", "unlike", "--candidate", "2"], "has no shadow '2'; there is: none"),
        (["shadow", "calibrate", "unlike", "--timeout-s", "1"], "came 0: calibrate under traffic"),
        (["canary", "start", "unlike", "--candidate", "2", "--share", "0.1"], "input 'x': expected FP32"),
        (["canary", "start", "unlike", "--candidate", "9", "--share", "0.1"], "9"),
        (["canary", "start", "free", "--candidate", "2", "--steps", "0.1,0.5"], "has no guardrail"),
        (["canary", "promote", "unlike"], "has no canary"),
    ],
)
def test_what_the_server_refuses(arguments: list[str], why: str, run) -> None:
    code, out, err = run(*arguments, "--reason", "a test")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert why in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["shadow", "status", "nothing"],
        ["shadow", "worst", "nothing"],
        ["shadow", "replay", "nothing", "1"],
        ["canary", "status", "unlike"],
        ["canary", "status", "nothing"],
    ],
)
def test_what_is_not_there_to_be_shown(arguments: list[str], run, read) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert arguments[2] in err
    assert read(*arguments) == (1, {"error": err.removeprefix("error: ").rstrip("\n")})


@pytest.mark.parametrize(
    "arguments",
    [
        ["shadow", "start", "m", "--reason", "x"],
        ["shadow", "start", "m", "--candidate", "2"],
        ["shadow", "start", "m", "--candidate", "2", "--sample", "0", "--reason", "x"],
        ["shadow", "start", "m", "--candidate", "2", "--sample", "1.5", "--reason", "x"],
        ["shadow", "start", "m", "--candidate", "2", "--tls", "--reason", "x"],
        ["shadow", "start", "m", "--candidate", "h:port", "--reason", "x"],
        ["shadow", "start", "m", "--candidate", "h:1", "--concurrency", "0", "--reason", "x"],
        ["shadow", "stop", "m"],
        ["shadow", "calibrate", "m", "--requests", "0", "--reason", "x"],
        ["shadow", "worst", "m", "--limit", "0"],
        ["shadow", "replay", "m"],
        ["canary", "start", "m", "--candidate", "2", "--reason", "x"],
        ["canary", "start", "m", "--candidate", "2", "--share", "1", "--reason", "x"],
        ["canary", "start", "m", "--candidate", "2", "--steps", "a,b", "--reason", "x"],
        ["canary", "start", "m", "--candidate", "2", "--steps", "0.5,0.1", "--reason", "x"],
        ["canary", "start", "m", "--candidate", "2", "--steps", "0.5,nan", "--reason", "x"],
        ["canary", "stop", "m"],
        ["canary", "promote", "m"],
    ],
)
def test_wrong_usage(arguments: list[str], run, read) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert read(*arguments) == (2, {"error": err.removeprefix("error: ").rstrip("\n")})
