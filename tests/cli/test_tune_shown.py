"""What `steelyard tune` says of the answers that its percentiles are of, to people and in its evidence."""

import datetime
from pathlib import Path

import pytest

from steelyard.cli.tune_shown import print_tuned
from steelyard.models.manifest import ModelManifest
from steelyard.models.repository import ModelDir
from steelyard.tune.candidate import Candidate
from steelyard.tune.document import evidence
from steelyard.tune.frontier import Point
from steelyard.tune.run import Tuned
from steelyard.tune.sample import sample_of
from steelyard.tune.search import Found

BASE = Candidate(2, 1, 64, 0, False, "all")
MANY = Point(BASE, 80.0, sample_of([9.0] * 1100, 13.75, 0))
FEW = Point(BASE, 20.0, sample_of([5.0] * 33, 1.65, 0))


def tuned(tmp_path: Path, chosen: Point | None) -> Tuned:
    model = ModelDir("m", str(tmp_path), (), None)
    found = Found(chosen, [FEW, MANY], {BASE: MANY.sample}, 8)
    return Tuned(model, 1, "sha256:00", ModelManifest(), "", BASE, 2, "8 made-up requests", 50.0, found, 60.0)


def test_the_table_says_of_how_many_answers_a_p99_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    print_tuned(tuned(tmp_path, MANY), [])
    printed = capsys.readouterr().out
    (few,) = [line for line in printed.splitlines() if "few answers" in line]
    assert few.split()[7:11] == ["5.00", "5.00", "33", "█" * 6], few
    (chosen,) = [line for line in printed.splitlines() if line.rstrip().endswith("chosen")]
    assert "1,100" in chosen
    assert "--seconds" not in printed


def test_a_choice_by_few_answers_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    print_tuned(tuned(tmp_path, FEW), [])
    printed = capsys.readouterr().out
    assert "chosen, few answers" in printed
    assert "its p99 is of 33 answers only, fewer than 100: with more --seconds there are more" in printed


def test_the_evidence_says_it_of_every_figure(tmp_path: Path):
    document = evidence(tuned(tmp_path, MANY), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    assert [(one["answered"], one["few_answers"]) for one in document["points"]] == [
        (33, True),
        (1100, False),
    ]
    assert document["chosen_at"]["few_answers"] is False
    assert document["screened"][0]["answered"] == 1100
