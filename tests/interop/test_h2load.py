"""h2load, a load generator that knows HTTP/2 and no gRPC: every call is answered, on every stream and connection."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.interop.bodies import INFER, doubled
from tests.support.metrics import metrics
from tests.support.server import Server

CALLS = 20_000


@pytest.mark.extra
@pytest.mark.parametrize(("connections", "streams"), [(1, 1), (4, 16), (64, 8), (1, 256)])
def test_every_call_is_answered(server: Server, tmp_path: Path, connections: int, streams: int) -> None:
    body = doubled(1)
    framed = tmp_path / "body"
    framed.write_bytes(b"\0" + len(body).to_bytes(4) + body)
    calls = CALLS if connections * streams > 1 else CALLS // 10
    before = metrics(server, model="double").outcome("answered")
    output = subprocess.run(
        [
            "h2load",
            "-t1",
            f"-n{calls}",
            f"-c{connections}",
            f"-m{streams}",
            f"-d{framed}",
            "-Hcontent-type: application/grpc",
            "-Hte: trailers",
            f"http://{server.address}{INFER}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert re.search(rf"{calls} done, {calls} succeeded, 0 failed, 0 errored, 0 timeout", output), output
    assert metrics(server, model="double").outcome("answered") == before + calls
