"""MLPerf's LoadGen over the wire: its Server and Offline scenarios, with the requests of one of ours."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from load.bodies import Bodies
from load.caller import Caller
from load.extras import extra
from load.measure import bodies_for
from load.scenario import Scenario
from steelyard.cli.server import Reached
from steelyard.errors import ConfigError
from steelyard.rpc import codes

# LoadGen's own samples: each is a body, in the shares of the scenario's requests.
SAMPLES = 1024
SUMMARY = "mlperf_log_summary.txt"
# Behind this line is what was asked for.
PARAMETERS = "Test Parameters Used"


def mlperf(
    scenario: Scenario,
    server: Reached,
    kind: str,
    qps: float,
    latency_ms: float,
    percentile: float,
    seconds: float,
    logs: Path,
) -> dict[str, Any]:
    """Runs LoadGen and gives what it says.

    kind: "server": single samples come as a Poisson process of `qps`, and `percentile` of them have to be answered
    within `latency_ms`. "offline": all samples at once, `qps` is what is expected. The scenario's requests are asked,
    without its phases, deadlines and bad ones.

    Raises ConfigError where LoadGen is not installed, Unavailable as `Caller` does.
    """
    lg = extra("mlperf_loadgen", "mlcommons-loadgen", "LoadGen")
    random = np.random.default_rng(scenario.seed)
    bodies = bodies_for(scenario, server, random, {})
    samples = _samples(scenario, bodies, random)
    counted = _Counted()

    def over(ended: list[tuple[int, int]]) -> None:
        counted.add(ended)
        lg.QuerySamplesComplete([lg.QuerySampleResponse(number, 0, 0) for number, _ in ended])

    logs.mkdir(parents=True, exist_ok=True)
    caller = Caller(server, scenario.connections, scenario.timeout_s, bodies.content, over)

    def issue(queries: list[Any]) -> None:
        caller.ask([(query.id, samples[query.index]) for query in queries])

    sut = lg.ConstructSUT(issue, lambda: None)
    # Every body is in memory all the time.
    library = lg.ConstructQSL(SAMPLES, SAMPLES, lambda _: None, lambda _: None)
    try:
        settings = _settings(lg, scenario, kind, qps, latency_ms, percentile, seconds)
        lg.StartTestWithLogSettings(sut, library, settings, _log_settings(lg, logs))
    finally:
        lg.DestroyQSL(library)
        lg.DestroySUT(sut)
        caller.close()
    summary = read_summary(logs / SUMMARY)
    return {
        "scenario": summary.get("Scenario", kind),
        "valid": summary.get("Result is") == "VALID",
        "samples": counted.samples,
        "failed": counted.failed,
        "summary": summary,
        "logs": str(logs),
    }


def read_summary(path: Path) -> dict[str, str]:
    """What LoadGen found, by its own names and in its order. Raises ConfigError where there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: expected LoadGen's summary: {error.strerror}") from None
    found = {}
    for line in lines:
        if line.startswith(PARAMETERS):
            break
        name, colon, value = line.partition(":")
        if colon and value.strip():
            found[name.strip().removeprefix("* ")] = value.strip()
    return found


class _Counted:
    """What became of samples: counted on the caller's thread, read after it is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.samples = 0
        self.failed = 0

    def add(self, ended: list[tuple[int, int]]) -> None:
        with self._lock:
            self.samples += len(ended)
            self.failed += sum(code != codes.OK for _, code in ended)


def _samples(scenario: Scenario, bodies: Bodies, random: np.random.Generator) -> list[int]:
    """The body of each of LoadGen's samples."""
    shares = np.array([request.share for request in scenario.request])
    kinds = random.choice(len(shares), SAMPLES, p=shares / shares.sum())
    return [int(random.choice(bodies.good_of[kind])) for kind in kinds]


def _settings(
    lg: Any,
    scenario: Scenario,
    kind: str,
    qps: float,
    latency_ms: float,
    percentile: float,
    seconds: float,
) -> Any:
    settings = lg.TestSettings()
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = int(seconds * 1000)
    settings.min_query_count = 1
    for name in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"):
        setattr(settings, name, scenario.seed + 1)
    if kind == "server":
        settings.scenario = lg.TestScenario.Server
        settings.server_target_qps = qps
        settings.server_target_latency_ns = int(latency_ms * 1e6)
        settings.server_target_latency_percentile = percentile / 100
    else:
        settings.scenario = lg.TestScenario.Offline
        settings.offline_expected_qps = qps
    return settings


def _log_settings(lg: Any, logs: Path) -> Any:
    output = lg.LogOutputSettings()
    output.outdir = str(logs)
    output.copy_summary_to_stdout = False
    settings = lg.LogSettings()
    settings.log_output = output
    settings.enable_trace = False
    return settings
