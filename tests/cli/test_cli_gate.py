"""`steelyard gate simulate`: from a model's manifest or from options, in processes of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.main import main
from tests.client.served import linear, put

QUICK = ["--runs", "60", "--max-requests", "4000", "--harm-of", "0.1", "--jobs", "2"]


def simulated(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["gate", "simulate", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_from_options(capsys):
    found = simulated(capsys, "--margin", "0.02", "--harm", "0.03", *QUICK)
    assert (found["ok"], found["kind"], found["share"]) == (True, "shadow", None)
    assert found["gate"]["guardrail"] == [
        {"on": "error_rate", "threshold_ms": None, "margin": 0.02, "harm": 0.03}
    ]
    assert [one["scenario"] for one in found["findings"]] == [
        "A/A, rolled back",
        "worse by harm, rolled back",
        "error_rate worse by margin, promoted",
        "A/A, promoted",
        "error_rate worse by 0.1, rolled back",
    ]
    caught = found["findings"][-1]
    assert (caught["count"], caught["runs"]) == (60, 60)
    assert 0 < caught["median"] <= caught["p90"]
    assert caught["ratio"] == pytest.approx(caught["median"] / caught["fixed"])
    # However many processes there are, the draws are the same.
    assert simulated(capsys, "--margin", "0.02", "--harm", "0.03", *QUICK, "--jobs", "1") == found


def test_of_a_model(tmp_path: Path, capsys):
    put(tmp_path, "m", 1, linear(1))
    (tmp_path / "m" / "model.toml").write_text(
        "[rollout.gate]\nalpha = 0.04\n"
        '[[rollout.gate.guardrail]]\non = "error_rate"\nmargin = 0.02\nharm = 0.03\n'
        '[[rollout.gate.guardrail]]\non = "disagreement"\nmargin = 0.02\nharm = 0.03\n'
    )
    model = ["m", "--repository", str(tmp_path)]
    found = simulated(capsys, *model, *QUICK, "--kind", "canary", "--share", "0.5", "--steps", "2")
    assert (found["share"], found["steps"], found["left_out"]) == (0.5, 2, ["disagreement"])
    assert (found["gate"]["alpha"], found["gate"]["max_requests"]) == (0.04, 4000)
    assert found["findings"][0]["at_most"] == 0.02
    assert main(["gate", "simulate", *model, *QUICK, "--kind", "canary", "--share", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "error_rate worse by margin, promoted" in out
    assert "left out, as a canary has no pairs: disagreement" in out


def test_a_broken_promise_is_shown_and_ends_with_1(capsys, monkeypatch):
    from steelyard.rollout.look import Verdict
    from steelyard.rollout.simulate import Scenario

    # A candidate that is no worse is promoted nearly always, which no alpha allows.
    monkeypatch.setattr(
        "steelyard.rollout.simulate.scenarios",
        lambda design, harm_of: (Scenario("A/A", {}, Verdict.SAFE, 0.05),),
    )
    assert main(["gate", "simulate", "--margin", "0.02", *QUICK]) == 1
    assert "BROKEN" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected guardrails"),
        (["m"], "MODEL and --repository go together"),
        (["--harm", "0.1"], "expected guardrails"),
        (["--margin", "2"], "margin"),
        (["--margin", "0.2", "--harm", "0.1"], "harm: expected at least the margin"),
        (["--margin", "0.2", "--alpha", "0.7"], "alpha"),
        (["--margin", "0.2", "--base-rate", "0.99"], "expected a rate of 0 to 1"),
        (["--margin", "0.2", "--kind", "canary", "--share", "0"], "share"),
        (["--margin", "0.2", "--runs", "0"], "runs"),
        (["--margin", "0.2", "--max-requests", "10000000", "--looks", "1", "--look-growth", "0"], "at most"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys):
    assert main(["gate", "simulate", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_model_without_guardrails(tmp_path: Path, capsys):
    put(tmp_path, "m", 1, linear(1))
    assert main(["gate", "simulate", "m", "--repository", str(tmp_path)]) == 2
    assert "expected a [[rollout.gate.guardrail]], found none" in capsys.readouterr().err
    assert main(["gate", "simulate", "n", "--repository", str(tmp_path)]) == 2
    assert "expected a model 'n'" in capsys.readouterr().err
