"""What is recorded in a data directory, whether it is sealed or not."""

from pathlib import Path

from steelyard.evidence.frames import Gap
from steelyard.evidence.ledger import read_ledger
from steelyard.evidence.sealed_file import read_records
from steelyard.evidence.store import open_files, snapshot


def everything(data: Path) -> list[bytes]:
    """Every record that is there, as often as it is, by its bytes."""
    sealed, unsealed = snapshot(data)
    records = [record for file in sealed for part in read_records(file.path) for record in part.to_list()]
    return sorted(records + [record for part in unsealed for record in part.records.to_list()])


def all_gaps(data: Path) -> list[Gap]:
    """Every gap that is told of."""
    # The open ones first: what is sealed in between is told of by the ledger.
    unsealed = {file.name: file.gaps for file in open_files(data)}
    ledger = read_ledger(data).sealed
    found = [gap for sealed in ledger.values() for gap in sealed.gaps]
    return found + [gap for name, gaps in unsealed.items() if name not in ledger for gap in gaps]
