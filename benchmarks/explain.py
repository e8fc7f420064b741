"""What it takes to explain one decision among millions, and to search a day of them, from the command line.

Whole commands are timed, with the start of the process. Files are as a server with one worker makes them by default:
one each five minutes, and one of notes beside it, with the payload digests of one decision in ten.

What it favours: the files are in the system's cache, as those of the last day would be. All are of one model and one
worker; four workers make four times as many files. Nothing is in the open journal, and the notes are of the decisions
beside them. Who has a digest kept of every payload has ten times as many notes, in as many files. No payloads, events,
shadows and repository are there, so `explain` has none of them to show. Decisions are spread evenly over the day, which
favours nobody.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decisions import MODEL, START_NS, made
from steelyard.evidence.batch import Records
from steelyard.evidence.ledger import LEDGER_FILE, SEALED_DIRECTORY, Sealed
from steelyard.evidence.notes_file import notes_path, write_notes
from steelyard.evidence.sealed_file import write_sealed
from steelyard.evidence.segments import NOTES_DIRECTORY

RECORDS = 10_000_000
DAY_NS = 86_400 * 10**9

# `journal_segment_age_s`, as it is by default: so many files a day.
SEGMENT_AGE_S = 300
PER_FILE = -(-RECORDS * SEGMENT_AGE_S // 86_400)

# One decision in so many has a note.
NOTED_EACH = 10
ROUNDS = 5


def run(records: int = RECORDS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Writes so many decisions of one day, and asks for some of them."""
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        began_s = time.perf_counter()
        filled = _fill(data, records)
        found: dict[str, Any] = {
            "records": records,
            "files": filled.files,
            "bytes": filled.bytes / records,
            "notes": filled.notes,
            "note_bytes": filled.note_bytes / filled.notes,
            "written_s": time.perf_counter() - began_s,
            "seconds": {},
        }
        decision_id, request_id = filled.decision_id, filled.request_id
        hour = ["--since", _at(START_NS + DAY_NS // 2), "--until", _at(START_NS + DAY_NS // 2 + DAY_NS // 24)]
        asked = {
            "explain, by decision id": ["explain", decision_id],
            "explain, by request id": ["explain", request_id],
            "decisions, a day, slow ones": [
                "decisions",
                "--model",
                MODEL,
                "--where",
                "version=3 and total_ms>50",
            ],
            "decisions, a day, one caller's": ["decisions", "--where", f"request_id='{request_id}'"],
            "decisions, an hour": ["decisions", "--model", MODEL, *hour, "--where", "queue_ms>0.5"],
            "sql, p99 of the day by hour": [
                "sql",
                "SELECT date_trunc('hour', received) h, approx_quantile(total_ns, 0.99) FROM decisions GROUP BY 1",
            ],
        }
        for name, arguments in asked.items():
            found["seconds"][name] = [_timed(data, arguments) for _ in range(rounds)]
    return found


def report(found: dict[str, Any]) -> list[str]:
    """The result as lines of text."""
    lines = [
        f"{found['records']:,} decisions of a day in {found['files']} files, {found['bytes']:.1f} bytes each; "
        f"{found['notes']:,} notes in as many files, {found['note_bytes']:.1f} bytes each; "
        f"written in {found['written_s']:.0f} s",
        f"a file has at most {PER_FILE:,} decisions: those of {SEGMENT_AGE_S} s of ten million a day, as one worker "
        f"closes it by default; one in {NOTED_EACH} has a note, of payload digests; no payloads, events, shadows or "
        "open journal are there",
        f"{'command':34}{'median s':>10}{'worst s':>10}{'cpu s':>10}",
    ]
    for name, taken in found["seconds"].items():
        wall, cpu = np.array(taken).T
        lines.append(f"{name:34}{np.median(wall):10.2f}{wall.max():10.2f}{np.median(cpu):10.2f}")
    return lines


@dataclass(slots=True)
class Filled:
    """What a data directory was filled with."""

    files: int
    bytes: int = 0
    """Of the decisions' files."""
    notes: int = 0
    note_bytes: int = 0
    """Of the files of notes."""
    decision_id: str = ""
    """Of a decision in the middle, which has a note."""
    request_id: str = ""


def _fill(data: Path, records: int) -> Filled:
    """Writes sealed files, their notes and their ledger."""
    sealed = data / SEALED_DIRECTORY
    directory = sealed / MODEL
    directory.mkdir(parents=True)
    (sealed / NOTES_DIRECTORY).mkdir()
    filled = Filled(-(-records // PER_FILE))
    lines = []
    for number in range(filled.files):
        count = min(PER_FILE, records - number * PER_FILE)
        start_ns = START_NS + DAY_NS * number // filled.files
        each = made(count, number, start_ns, DAY_NS // filled.files, "random")
        segment = f"worker-0/{start_ns:020d}.log"
        path = directory / f"worker-0-{start_ns:020d}.parquet"
        summary = write_sealed(path, each, segment, MODEL, 0, 1, lambda: None)
        filled.bytes += path.stat().st_size
        middle = count // 2
        notes = _notes(each, range(middle % NOTED_EACH, count, NOTED_EACH), number)
        noted = notes_path(sealed, segment)
        write_notes(noted, notes)
        filled.notes += len(notes)
        filled.note_bytes += noted.stat().st_size
        files = {f"{MODEL}/{path.name}": summary}
        lines.append(json.dumps(Sealed(segment, files, notes=len(notes)).to_json()) + "\n")
        if number == filled.files // 2:
            record = each.part(slice(middle, middle + 1)).to_list()[0]
            filled.decision_id = str(uuid.UUID(bytes=record[8:24]))
            filled.request_id = record[-36:].decode()
    (sealed / LEDGER_FILE).write_text("".join(lines))
    return filled


def _notes(records: Records, places: range, seed: int) -> list[dict[str, Any]]:
    """What a server notes of captured payloads that it keeps the digests of."""
    rng = np.random.default_rng(seed)
    ids = np.ascontiguousarray(records.heads()["decision_id"])[places.start :: places.step].tobytes()
    digests = rng.bytes(64 * len(places)).hex()
    return [
        {
            "note": "payload",
            "decision_id": str(uuid.UUID(bytes=ids[16 * at : 16 * at + 16])),
            "model": MODEL,
            "file": f"{MODEL}/{START_NS // 10**6 + seed:013d}-worker-0-1.payloads",
            "offset": at * 400,
            "kept": False,
            "input_digest": f"sha256:{digests[128 * at : 128 * at + 64]}",
            "output_digest": f"sha256:{digests[128 * at + 64 : 128 * at + 128]}",
            "masked": [],
            "masked_count": 0,
            "reasons": ["digest"],
        }
        for at in range(len(places))
    ]


def _timed(data: Path, arguments: list[str]) -> tuple[float, float]:
    """Seconds that a command took, and seconds of processors that it had."""
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-P", "-m", "steelyard.cli.main", *arguments, "--data", str(data), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    wall_s = time.perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _at(unix_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_ns / 1e9))
