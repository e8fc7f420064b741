"""Retention removes files between the moment in which a command lists them and the one in which it reads them."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.audit import decision_proof
from steelyard.cli.reading import explain_decision, ids_named
from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError, InvalidRequest, ModelNotFound
from steelyard.evidence import lookup, parquet_segments, store
from steelyard.evidence.logging_segments import SegmentLogging
from steelyard.evidence.payload_notes import payload_notes
from steelyard.evidence.sealing import Sealing
from steelyard.evidence.tlog import TransparencyLog, key_paths, open_reader
from steelyard.evidence.verifier import check_proof
from tests.evidence.journals import decision, packed, write

# Of two files, each of which may have it by the range of its ids, the second one has it.
NUMBER = 5
ID, NAME = decision(NUMBER).decision_id, f"order-{NUMBER}"


def noted(number: int) -> dict[str, Any]:
    return {
        "note": "payload",
        "decision_id": decision(number).decision_id,
        "file": "prices/1",
        "offset": number,
        "input_digest": "a",
        "output_digest": "b",
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for worker, numbers in enumerate([range(0, 10, 2), range(1, 11, 2)]):
        write(tmp_path, packed(*numbers), notes=[noted(number) for number in numbers], worker=worker)
    log = TransparencyLog(tmp_path, key_paths(tmp_path, None, None), ManualClock())
    list(Sealing(tmp_path, SegmentLogging(tmp_path, log).commit).all_closed())
    return tmp_path


Removing = Callable[[str, int], None]


@pytest.fixture
def remove_when_listed(data: Path, monkeypatch: pytest.MonkeyPatch) -> Removing:
    """Has files that match a pattern go as soon as the sealed ones, or those of notes, have been listed so often."""

    def removing(pattern: str, times: int) -> None:
        left = itertools.count(times, -1)

        def then_gone(listed: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*arguments: Any) -> Any:
                found = listed(*arguments)
                if next(left) == 1:
                    for path in data.glob(pattern):
                        path.unlink()
                return found

            return wrapped

        for name in ("sealed_files", "sealed_notes"):
            wrapped = then_gone(getattr(store, name))
            for module in (store, lookup, parquet_segments):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, wrapped)

    return removing


OTHERS = "sealed/prices/worker-0-*"
ITS_OWN = "sealed/prices/worker-1-*"
NOTES_OF_OTHERS = "sealed/.notes/worker-0-*"

# With the listing after which the others go: the first, of which the id is looked for, or a later one, of the name.
BOTH = [(ID, 1), (NAME, 2)]


@pytest.mark.parametrize(("name", "listing"), BOTH)
def test_a_file_that_goes_has_no_decision_to_be_found(
    data: Path, remove_when_listed: Removing, name: str, listing: int
) -> None:
    expected = explain_decision(data, name, None)
    assert expected["hour_count"] == 10
    remove_when_listed(OTHERS, listing)
    found = explain_decision(data, name, None)
    assert found["decision"] == expected["decision"]
    assert (found["hour_count"], len(found["notes"])) == (5, 1)


@pytest.mark.parametrize(("name", "listing"), BOTH)
def test_a_name_is_found_while_other_files_go(
    data: Path, remove_when_listed: Removing, name: str, listing: int
) -> None:
    remove_when_listed(OTHERS, listing)
    assert ids_named(data, name) == {"decisions": [ID], "unlisted": []}


@pytest.mark.parametrize(("name", "listing"), BOTH)
def test_a_decision_is_proven_while_other_files_go(
    data: Path, remove_when_listed: Removing, name: str, listing: int
) -> None:
    key = open_reader(data, key_paths(data, None, None)).key
    remove_when_listed(OTHERS, listing)
    proof, _ = decision_proof(data, key, name)
    assert check_proof(proof, key)["record"] == packed(NUMBER)[0]


def test_a_decision_that_goes_itself_is_not_found(data: Path, remove_when_listed: Removing) -> None:
    key = open_reader(data, key_paths(data, None, None)).key
    remove_when_listed(ITS_OWN, 1)
    with pytest.raises(InvalidRequest, match="or is no longer kept"):
        decision_proof(data, key, ID)
    with pytest.raises(ModelNotFound, match="no decision and no request"):
        explain_decision(data, ID, None)


def test_notes_are_found_while_those_of_others_go(data: Path, remove_when_listed: Removing) -> None:
    remove_when_listed(NOTES_OF_OTHERS, 1)
    assert {one.decision_id for one in payload_notes(data, {ID}).values()} == {ID}


def test_one_that_is_listed_and_never_there_is_an_error(data: Path) -> None:
    (data / "sealed" / ".notes" / "worker-9-1.parquet").symlink_to("nowhere")
    with pytest.raises(EvidenceError, match=r"worker-9-1\.parquet: cannot be read"):
        payload_notes(data, {ID})
