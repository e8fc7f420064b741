"""What is weighed of a shadow whose candidate has no run times."""

import json

from steelyard.rollout.look import Verdict
from steelyard.supervisor.shadow_weighing import ShadowWeighing

PLAN = {
    "alpha": 0.1,
    "max_requests": 100_000,
    "guardrail": [
        {"on": "slower_than", "threshold_ms": 5.0, "margin": 0.1, "harm": 0.2},
        {"on": "error_rate", "margin": 0.1, "harm": 0.2},
    ],
}


def checkpoint(pairs: int) -> dict[str, object]:
    return {
        "pairs": {"pairs": pairs, "agreed": pairs},
        "guardrails": {"error_rate": {"better": 0, "same": pairs, "worse": 0}},
    }


def test_a_remote_candidate_is_safe_without_run_times_also_after_a_restart() -> None:
    slower = ShadowWeighing(PLAN, None).gate.guardrails[0].name
    assert ShadowWeighing(PLAN, None).left_out == ()
    weighing = ShadowWeighing(PLAN, None, remote=True)
    assert weighing.left_out == (slower,)
    assert weighing.take(checkpoint(10)) is Verdict.UNDECIDED
    again = ShadowWeighing(PLAN, json.loads(json.dumps(weighing.to_json())), remote=True)
    assert again.left_out == (slower,)
    assert again.take(checkpoint(5_000)) is Verdict.SAFE
    assert ShadowWeighing(PLAN, None).take(checkpoint(5_000)) is Verdict.UNDECIDED
