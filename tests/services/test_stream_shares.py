"""What the streams of one caller may keep between them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.support import models
from tests.support.asking import Asker, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually


def test_answers_of_many_streams_are_bounded_together(start: Callable[..., Server], tmp_path: Path) -> None:
    repository = tmp_path / "models"
    models.put(repository, "widened", models.widened(50_000))
    limits = {"connection_send_bytes": "2 MiB", "total_send_bytes": "3 MiB"}
    server = start(repository, **limits).wait_ready()
    body = request("widened", {"x": np.ones((1, 1), np.float32)})
    with Asker(server.address) as own:
        calls = [own.stream([body] * 12) for _ in range(20)]
        # Several of each are in the server before it is known how large their answers are, and 2 MB may wait.
        eventually(lambda: metrics(server, model="widened")["steelyard_requests_total"] >= 40)
        found = [list(call) for call in calls]
    assert [len(messages) for messages in found] == [12] * 20
    refused = [message.error_message for messages in found for message in messages if message.error_message]
    assert all("connection_send_bytes" in problem or "total_send_bytes" in problem for problem in refused)
    assert len(refused) < 230
    with Asker(server.address) as own:
        assert not any(message.error_message for message in own.stream([body] * 50))
