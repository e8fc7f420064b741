"""A shadow as a whole: engine, tap, a process with a real candidate, and what it has counted."""

from pathlib import Path

import numpy as np

from tests.shadow.conftest import body_of, primary_of
from tests.support import models
from tests.support.waiting import until

MANIFEST = """
[serving]
versions = { list = [1] }

[[rollout.gate.guardrail]]
on = "error_rate"
margin = 0.01
harm = 0.02

[[rollout.gate.guardrail]]
on = "disagreement"
margin = 0.01
harm = 0.02

[[rollout.gate.guardrail]]
on = "slower_than"
threshold_ms = 1000
margin = 0.01
harm = 0.02
"""


async def test_a_candidate_that_answers_the_same_agrees(tmp_path: Path, socket_path: Path) -> None:
    models.put(tmp_path / "models", "scale", models.scaled(2.0), 1, MANIFEST)
    second = models.put(tmp_path / "models", "scale", models.scaled(2.0), 2)
    async with primary_of(tmp_path / "models") as primary:
        tap, process = await primary.shadow("scale", second, socket_path)
        rng = np.random.default_rng(1)
        await primary.ask([body_of("scale", rng.random((2, 4), np.float32)) for _ in range(50)])
        await until(lambda: tap.counts()["acknowledged"] == 50)
        await until(lambda: sum(process.checkpoint["guardrails"]["disagreement"].values()) == 50)
        assert process.checkpoint["guardrails"] == {
            "error_rate": {"better": 0, "same": 50, "worse": 0},
            "disagreement": {"better": 0, "same": 50, "worse": 0},
            "slower_than_1000ms": {"better": 0, "same": 50, "worse": 0},
        }
        assert process.checkpoint["digests"] == [process.digest]
