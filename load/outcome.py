"""What became of a load, as the document that the report is made of."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import grpc
import numpy as np

from load.bodies import Bodies
from load.fleet import Sent
from load.job import UNSENT
from load.percentiles import curve, summary_ms
from load.plan import Timetable
from load.scenario import Scenario
from steelyard.rpc import codes

Array = np.ndarray[Any, Any]

# Windows of the time axis: enough to see what happens, few enough that a second holds some requests.
MAX_WINDOWS = 240
LEAST_WINDOW_S = 0.25

# Requests that left later than this, beyond one in a hundred, are the harness's own delay and not the server's.
LATE_MS = 1.0
BUSY_SHARE = 0.9

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode} | {UNSENT: "UNSENT"}


def code_name(code: int) -> str:
    """gRPC's name of a status, or UNSENT."""
    return _NAMES.get(code, f"status {code}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Arrays with an entry a request, in the order in which they were due."""

    scenario: Scenario
    table: Timetable
    sent: Sent
    bad: Array
    """bool: whether the request was made bad."""

    @property
    def latency_ms(self) -> Array:
        """From when a request was due to when it was over, however it ended."""
        return (self.sent.ended_ns - self.sent.due_ns) / 1e6

    @property
    def answered(self) -> Array:
        """bool: ended with OK."""
        return self.sent.code == codes.OK

    @property
    def lateness_ms(self) -> Array:
        """From when a request was due to when it was sent, of those that were sent at all."""
        left = self.sent.sent_ns > 0
        return (self.sent.sent_ns[left] - self.sent.due_ns[left]) / 1e6

    def document(self) -> dict[str, Any]:
        """All of it, for JSON; what the server says of it stands beside it."""
        good = ~self.bad
        everything = np.ones(len(self.bad), bool)
        return {
            "scenario": self.scenario.model_dump(mode="json"),
            "seconds": self.table.seconds,
            "percentiles": "exact, by nearest rank over every request; from when it was due",
            "all": self._part(everything, self.table.seconds, curves=True),
            "bad": {**self._counts(self.bad), "accepted": int((self.bad & self.answered).sum())},
            "by_request": {
                request.name: self._part(
                    good & (self.table.request == place), self.table.seconds, request.deadline_ms, curves=True
                )
                for place, request in enumerate(self.scenario.request)
            },
            "by_phase": [
                {
                    "arrivals": phase.arrivals,
                    "begins_s": begin_s,
                    "seconds": end_s - begin_s,
                    **self._part(self.table.phase == place, end_s - begin_s),
                }
                for place, (phase, begin_s, end_s) in enumerate(
                    zip(
                        self.scenario.phase,
                        self.table.begins_s,
                        (*self.table.begins_s[1:], self.table.seconds),
                        strict=True,
                    )
                )
            ],
            "windows": self._windows(),
            "harness": self._harness(),
        }

    def _counts(self, chosen: Array) -> dict[str, Any]:
        found, counts = np.unique(self.sent.code[chosen], return_counts=True)
        return {
            "requests": int(chosen.sum()),
            "codes": {code_name(int(c)): int(n) for c, n in zip(found, counts, strict=True)},
        }

    def _part(
        self, chosen: Array, seconds: float, deadline_ms: float | None = None, curves: bool = False
    ) -> dict[str, Any]:
        answered = chosen & self.answered
        latency_ms = self.latency_ms[answered]
        # A server that refuses half at once has not become faster by it.
        never = np.where(self.answered, self.latency_ms, np.inf)[chosen & ~self.bad]
        found = {
            **self._counts(chosen),
            "due_per_s": float(chosen.sum() / seconds) if seconds else 0.0,
            "answered_per_s": float(answered.sum() / seconds) if seconds else 0.0,
            "latency_ms": summary_ms(latency_ms),
            "latency_ms_failed_as_never": summary_ms(never),
        }
        if deadline_ms is not None:
            found["deadline_ms"] = deadline_ms
            found["within_deadline"] = int((latency_ms <= deadline_ms).sum())
        if curves:
            found["curve"] = curve(latency_ms)
        return found

    def _windows(self) -> dict[str, Any]:
        last_s = max(self.table.seconds, float(self.sent.ended_ns.max() - self.sent.start_ns) / 1e9)
        width_s = max(LEAST_WINDOW_S, self.table.seconds / MAX_WINDOWS)
        count = int(np.ceil(last_s / width_s)) or 1
        edges_s = np.arange(count + 1) * width_s
        due_s = (self.sent.due_ns - self.sent.start_ns) / 1e9
        ended_s = (self.sent.ended_ns - self.sent.start_ns) / 1e9
        own = np.searchsorted(due_s, edges_s)
        latency_ms, answered = self.latency_ms, self.answered
        summaries = [summary_ms(latency_ms[begin:end][answered[begin:end]]) for begin, end in pairwise(own)]
        by_code = {
            code_name(int(code)): np.histogram(ended_s[self.sent.code == code], edges_s)[0].tolist()
            for code in np.unique(self.sent.code)
        }
        return {
            "seconds": width_s,
            "begins_s": edges_s[:-1].tolist(),
            "due": np.diff(own).tolist(),
            "ended": by_code,
            **{f"{name}_ms": [window[name] for window in summaries] for name in ("p50", "p90", "p99", "max")},
        }

    def _harness(self) -> dict[str, Any]:
        lateness = summary_ms(self.lateness_ms)
        busiest = max(self.sent.cpu_share)
        late = (lateness["p99"] or 0.0) > LATE_MS
        if not late and busiest < BUSY_SHARE:
            verdict = "not the bottleneck"
        elif busiest >= BUSY_SHARE:
            verdict = "its processes were busy: take more of them (processes)"
        else:
            verdict = "requests left late: the machine was busy, or the server took no more at once"
        return {
            "processes": len(self.sent.cpu_share),
            "cpu_share": list(self.sent.cpu_share),
            "reconnects": self.sent.reconnects,
            "lateness_ms": lateness,
            "unsent": int((self.sent.code == UNSENT).sum()),
            "verdict": verdict,
        }


def bad_bodies(bodies: Bodies, chosen: Array) -> Array:
    """bool, by request: whether its body is one that a server should refuse."""
    return np.array(bodies.bad, bool)[chosen]
