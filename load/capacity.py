"""What the load itself can send: rising rates on a server that answers everything with the same bytes."""

from typing import Any

import numpy as np

from benchmarks.processes import ceiling
from load.fleet import Sent, send
from load.job import one_body
from load.outcome import LATE_MS
from load.percentiles import summary_ms
from steelyard.client.requests import Request, encode_request
from steelyard.rpc import codes

FIRST_RATE = 1000.0
# From one rate to the next; the capacity that is found is at most so much too low.
FACTOR = 1.3
TIMEOUT_S = 5.0
# As small as requests are: what is sent is the harness's own cost, and not the bytes'.
BODY = encode_request(Request(model="tiny", inputs={"X": np.zeros((1, 16), np.float32)}))


def capacity(processes: int, connections: int, seconds: float, most: float) -> dict[str, Any]:
    """The highest rate that the load keeps up, and what every rate that was tried looked like.

    Kept up: half of the requests leave within LATE_MS of when they are due, and all are answered. Of the other half a
    busy machine decides; how late they left is said beside it. The search ends at the second rate in turn that is not
    kept up, since one may be the machine's fault.
    """
    tried: list[dict[str, Any]] = []
    # What two hold back less than one: the sketch of a server, which checks nothing.
    with ceiling("http2") as port:
        rate, missed = FIRST_RATE, 0
        while rate <= most and missed < 2:
            found = _at(f"127.0.0.1:{port}", rate, processes, connections, seconds)
            missed = 0 if found["kept_up"] else missed + 1
            tried.append(found)
            rate *= FACTOR
    kept_up = [found["rate"] for found in tried if found["kept_up"]]
    return {
        "processes": processes,
        "connections": connections,
        "late_ms": LATE_MS,
        "kept_up_per_s": max(kept_up, default=None),
        "answered_per_s": max(found["answered_per_s"] for found in tried),
        "cpu_us": min(found["cpu_us"] for found in tried),
        "tried": tried,
    }


def _at(address: str, rate: float, processes: int, connections: int, seconds: float) -> dict[str, Any]:
    due_ns = (np.arange(int(rate * seconds)) / rate * 1e9).astype(np.int64)
    jobs = [
        one_body(address, BODY, due_ns[place::processes], TIMEOUT_S, connections=connections)
        for place in range(processes)
    ]
    sent = send(jobs)
    lateness = summary_ms((sent.sent_ns - sent.due_ns)[sent.sent_ns > 0] / 1e6)
    answered = sent.code == codes.OK
    latency = summary_ms((sent.ended_ns - sent.due_ns)[answered] / 1e6)
    late = lateness["p50"] is None or lateness["p50"] > LATE_MS
    return {
        "rate": rate,
        "kept_up": bool(answered.all()) and not late,
        "answered_per_s": _answered_per_s(sent, answered),
        "lateness_ms": lateness,
        "latency_ms": latency,
        "cpu_share": list(sent.cpu_share),
        "cpu_us": sum(sent.cpu_share) * _took_s(sent) / len(due_ns) * 1e6,
    }


def _answered_per_s(sent: Sent, answered: Any) -> float:
    return float(answered.sum()) / _took_s(sent)


def _took_s(sent: Sent) -> float:
    return float(sent.ended_ns.max() - sent.start_ns) / 1e9
