"""What a caller named a request stands for its decision where that is one only."""

import json
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.main import main
from steelyard.clock import ManualClock
from steelyard.evidence.logging_segments import SegmentLogging
from steelyard.evidence.sealing import Sealing
from steelyard.evidence.tlog import TransparencyLog, key_paths
from steelyard.evidence.verifier import check_proof, read_key
from tests.evidence.journals import decision, packed, write

TWICE = [decision(number).decision_id for number in (2, 3)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A request that was sent once, and two of one name, of which the later is not sealed yet."""
    write(tmp_path, [*packed(1), *packed(2, request_id="order")])
    log = TransparencyLog(tmp_path, key_paths(tmp_path, None, None), ManualClock())
    list(Sealing(tmp_path, SegmentLogging(tmp_path, log).commit).all_closed())
    write(tmp_path, packed(3, request_id="order"), 2, closed=False)
    return tmp_path


def run(capfd: Any, *arguments: str) -> tuple[int, Any]:
    code = main([*arguments, "--json"])
    captured = capfd.readouterr()
    return code, json.loads(captured.out or captured.err)


def test_what_stands_for_several_decisions_is_refused_with_their_ids(data: Path, capfd) -> None:
    at = ["--data", str(data)]
    for command in (
        ["audit", "prove", "order", "--output", str(data / "proof")],
        ["feedback", "add", "order", "--value", "1", "--source", "sales"],
    ):
        code, error = run(capfd, *command, *at)
        assert code == 1
        assert f"stands for 2 decisions, name one by its id: {TWICE[1]}, {TWICE[0]}" in error["error"]
    assert not (data / "proof").exists()


def test_a_decision_is_proven_by_its_id_and_by_a_name_that_is_its_own(data: Path, capfd) -> None:
    for name, record in ((TWICE[0], packed(2, request_id="order")), ("order-1", packed(1))):
        proof = data / "proof"
        code, made = run(capfd, "audit", "prove", name, "--output", str(proof), "--data", str(data))
        assert code == 0
        assert check_proof(proof.read_bytes(), read_key(made["key"]))["record"] == record[0]
    code, error = run(capfd, "audit", "prove", TWICE[1], "--data", str(data))
    assert (code, "is recorded in journal/worker-0/" in error["error"]) == (1, True)
