"""What it takes to explain one decision among millions, and to search a day of them, from the command line.

Whole commands are timed, with the start of the process. The files are in the system's cache, as those of the last day
would be; decisions are spread evenly over the day, which favours nobody.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decisions import MODEL, START_NS, made
from steelyard.evidence.ledger import LEDGER_FILE, SEALED_DIRECTORY, Sealed
from steelyard.evidence.sealed_file import write_sealed

RECORDS = 10_000_000
DAY_NS = 86_400 * 10**9
PER_FILE = 400_000
ROUNDS = 5


def run(records: int = RECORDS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Writes so many decisions of one day, and asks for some of them."""
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        began_s = time.perf_counter()
        size, named = _fill(data, records)
        found: dict[str, Any] = {
            "records": records,
            "bytes": size / records,
            "written_s": time.perf_counter() - began_s,
            "seconds": {},
        }
        decision_id, request_id = named
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
        f"{found['records']:,} decisions of a day, {found['bytes']:.1f} bytes each, "
        f"written in {found['written_s']:.0f} s",
        f"{'command':34}{'median s':>10}{'worst s':>10}{'cpu s':>10}",
    ]
    for name, taken in found["seconds"].items():
        wall, cpu = np.array(taken).T
        lines.append(f"{name:34}{np.median(wall):10.2f}{wall.max():10.2f}{np.median(cpu):10.2f}")
    return lines


def _fill(data: Path, records: int) -> tuple[int, tuple[str, str]]:
    """Writes sealed files and their ledger; gives their bytes, and the names of a decision in the middle."""
    directory = data / SEALED_DIRECTORY / MODEL
    directory.mkdir(parents=True)
    files = -(-records // PER_FILE)
    size, named = 0, ("", "")
    lines = []
    for number in range(files):
        count = min(PER_FILE, records - number * PER_FILE)
        start_ns = START_NS + DAY_NS * number // files
        each = made(count, number, start_ns, DAY_NS // files, "random")
        segment = f"worker-0/{start_ns:020d}.log"
        path = directory / f"worker-0-{start_ns:020d}.parquet"
        summary = write_sealed(path, each, segment, MODEL, 0, 1, lambda: None)
        lines.append(json.dumps(Sealed(segment, {f"{MODEL}/{path.name}": summary}).to_json()) + "\n")
        size += path.stat().st_size
        if number == files // 2:
            record = each.part(slice(count // 2, count // 2 + 1)).to_list()[0]
            named = str(uuid.UUID(bytes=record[8:24])), record[-36:].decode()
    (directory.parent / LEDGER_FILE).write_text("".join(lines))
    return size, named


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
