"""Sealed notes of one decision among many: what is of others is neither read nor parsed."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steelyard.errors import EvidenceError
from steelyard.evidence.lookup import Lookup
from steelyard.evidence.notes_file import notes_table, read_notes, write_notes
from steelyard.evidence.payload_notes import Noted, payload_notes
from steelyard.evidence.sealed_file import ROW_GROUP
from steelyard.evidence.sealing import Sealing
from steelyard.evidence.store import sealed_notes
from tests.evidence.journals import decision, packed, write

PER_FILE = 10
FILES = 4


def payload_note(number: int) -> dict[str, Any]:
    return {
        "note": "payload",
        "decision_id": decision(number).decision_id,
        "file": "prices/1.payloads",
        "offset": number,
        "input_digest": f"i{number}",
        "output_digest": f"o{number}",
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for file in range(FILES):
        numbers = range(file * PER_FILE, (file + 1) * PER_FILE)
        flags = [
            {"note": "flags", "decision_id": decision(one).decision_id, "flags": ["x"]} for one in numbers
        ]
        write(tmp_path, packed(*numbers), file + 1, notes=[*map(payload_note, numbers), *flags])
    list(Sealing(tmp_path).all_closed())
    return tmp_path


def rewritten(path: Path, parsed: Sequence[str]) -> None:
    """Leaves what is JSON to the notes of `parsed` only: whoever parses another one fails."""
    table = pq.read_table(path)
    ids = [str(row["decision_id"]) for row in table.select(["decision_id"]).to_pylist()]
    texts = table["note"].to_pylist()
    notes = [text if one in parsed else "{" for one, text in zip(ids, texts, strict=True)]
    pq.write_table(table.set_column(2, "note", pa.array(notes)), path, store_schema=False)


def emptied(path: Path) -> None:
    """Leaves a file its footer: whoever reads a column fails."""
    content = path.read_bytes()
    footer = 8 + int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[:4] + bytes(len(content) - 4 - footer) + content[-footer:])


def test_notes_of_one_decision_are_the_only_ones_that_are_parsed(data: Path) -> None:
    wanted = decision(25).decision_id
    for path in sealed_notes(data):
        rewritten(path, [wanted])
    lookup = Lookup(data)
    found = lookup.decision(uuid.UUID(wanted))
    assert found is not None
    notes = sorted(lookup.notes(found), key=lambda note: str(note["note"]))
    assert notes == [{"note": "flags", "decision_id": wanted, "flags": ["x"]}, payload_note(25)]
    assert payload_notes(data, {wanted}) == {("prices/1.payloads", 25): Noted(wanted, "i25", "o25")}
    # That they would have failed.
    with pytest.raises(EvidenceError, match="cannot be read"):
        payload_notes(data, {wanted, decision(26).decision_id})


def test_files_whose_footer_rules_a_decision_out_are_not_read_on(data: Path) -> None:
    paths = sealed_notes(data)
    for path in (paths[0], paths[2]):
        emptied(path)
    wanted = [decision(number).decision_id for number in (12, 17, 39)]
    assert [noted.decision_id for noted in payload_notes(data, set(wanted)).values()] == wanted
    lookup = Lookup(data)
    found = lookup.decision(uuid.UUID(wanted[0]))
    assert found is not None
    assert len(lookup.notes(found)) == 2
    with pytest.raises(EvidenceError, match="cannot be read"):
        payload_notes(data, {*wanted, decision(3).decision_id})


def test_only_notes_of_the_kind_are_parsed(tmp_path: Path) -> None:
    path = tmp_path / "notes.parquet"
    notes = [payload_note(1), {"note": "flags", "decision_id": decision(1).decision_id}]
    table = notes_table(notes).set_column(2, "note", pa.array(['{"offset":7}', "{"]))
    pq.write_table(table, path, store_schema=False)
    ids = [uuid.UUID(decision(1).decision_id).bytes]
    assert [note["offset"] for note in read_notes(path, ids, "payload")] == [7]
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_notes(path, ids)


def test_many_notes_are_in_row_groups_of_which_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "notes.parquet"
    notes = [{"note": "told", "decision_id": decision(number).decision_id} for number in range(ROW_GROUP + 1)]
    write_notes(path, notes)
    assert [pq.read_metadata(path).row_group(group).num_rows for group in range(2)] == [ROW_GROUP, 1]
    # The first group's columns are gone, the last decision's notes are there.
    end = pq.read_metadata(path).row_group(1).column(0)
    content = path.read_bytes()
    start = min(place for place in (end.dictionary_page_offset, end.data_page_offset) if place is not None)
    path.write_bytes(content[:4] + bytes(start - 4) + content[start:])
    assert read_notes(path, [uuid.UUID(decision(ROW_GROUP).decision_id).bytes]) == [notes[ROW_GROUP]]
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_notes(path, [uuid.UUID(decision(5).decision_id).bytes])


def test_notes_of_no_decision_are_found_where_one_asks_for_what_is_no_id(tmp_path: Path) -> None:
    note = {**payload_note(1), "decision_id": "not an id"}
    write(tmp_path, packed(1), notes=[note, payload_note(2)])
    list(Sealing(tmp_path).all_closed())
    assert list(payload_notes(tmp_path, {"not an id"})) == [("prices/1.payloads", 1)]
    assert payload_notes(tmp_path, {"another"}) == {}
    assert payload_notes(tmp_path, set()) == {}
