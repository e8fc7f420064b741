"""Rollbacks under full load: what each takes, whether a call fails, and who answers after the acknowledgement."""

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.closed_loop import closed_loop
from benchmarks.processes import steelyard
from benchmarks.tiny import save_tiny, tiny_request
from steelyard.client.admin import AdminClient
from steelyard.wire.generated import admin as pb

ROLLBACKS = 200
IN_FLIGHT = 64
WHO = pb.Who(actor="benchmark", reason="to be measured")

# Between two moves, so that calls that begin after one come to be answered before the next.
PAUSE_S = 0.1


def run(rollbacks: int = ROLLBACKS) -> dict[str, Any]:
    """Moves a label there and rolls it back so often, under a closed loop that keeps the server busy."""
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        for version in (1, 2):
            save_tiny(repository, version=version)
        # Else both would have one digest.
        (repository / "tiny" / "2" / "note.txt").write_text("the second version")
        (repository / "tiny" / "model.toml").write_text("[serving]\nversions = { all = true }\n")
        body = Path(temporary) / "tiny.body"
        body.write_bytes(tiny_request())
        moves: list[tuple[int, int, int]] = []
        took_ms: list[float] = []
        seconds = rollbacks * 2 * (PAUSE_S + 0.05) + 2.0
        with (
            steelyard(repository, "--poll-interval-s", "0") as server,
            AdminClient(server.data, 30.0) as admin,
            closed_loop(server.port, body, IN_FLIGHT, seconds) as load,
        ):
            setting = pb.SetLabelRequest(model="tiny", label="champion", version="1", who=WHO)
            admin.call("SetLabel", setting, pb.Event)
            setting.version = "2"
            time.sleep(1.0)
            for _ in range(rollbacks):
                for back in (False, True):
                    began_ns = time.monotonic_ns()
                    if back:
                        admin.call("Rollback", pb.RollbackRequest(model="tiny", who=WHO), pb.Event)
                        took_ms.append((time.monotonic_ns() - began_ns) / 1e6)
                    else:
                        admin.call("SetLabel", setting, pb.Event)
                    moves.append((began_ns, time.monotonic_ns(), 1 if back else 2))
                    time.sleep(PAUSE_S)
            calls = load.calls()
    wrong = checked = 0
    for (_, acknowledged_ns, to), (next_ns, _, _) in itertools.pairwise(moves):
        after = (calls.began_ns > acknowledged_ns) & (calls.ended_ns < next_ns)
        checked += int(after.sum())
        wrong += int((calls.version[after] != to).sum())
    return {
        "rollbacks": rollbacks,
        "requests_per_s": calls.rate,
        "calls": len(calls.began_ns),
        "failed": calls.failed,
        "checked": checked,
        "wrong_version": wrong,
        "p50_ms": float(np.percentile(took_ms, 50)),
        "p99_ms": float(np.percentile(took_ms, 99)),
        "longest_ms": max(took_ms),
    }


def report(found: dict[str, Any]) -> list[str]:
    """The result as lines of text."""
    return [
        f"{found['rollbacks']} rollbacks under {found['requests_per_s']:,.0f} requests/s ({IN_FLIGHT} in flight): "
        f"p50 {found['p50_ms']:.1f}, p99 {found['p99_ms']:.1f}, longest {found['longest_ms']:.1f} ms",
        f"{found['calls']:,} calls, {found['failed']} failed; {found['checked']:,} began after an acknowledgement "
        f"and ended before the next move, {found['wrong_version']} of them answered by another version",
    ]
