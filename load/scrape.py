"""The server's metrics, read again and again while a load runs, and what they say of it."""

import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from steelyard.demo.stages import STAGES, StageHistogram
from steelyard.errors import Unavailable

STAGE_METRIC = "steelyard_request_stage_seconds"
# All that is kept of a page: the rest is of no use here, and a day of it would fill memory.
KEPT = (
    STAGE_METRIC,
    "steelyard_requests_received_total",
    "steelyard_requests_total",
    "steelyard_refused_total",
    "steelyard_in_flight",
    "steelyard_queue_depth",
    "steelyard_rows_total",
    "steelyard_batches_total",
    "steelyard_worker_cpu_seconds_total",
)
# A server that counts after it has answered is given so long to be done with it.
SETTLE_S = 3.0
TIMEOUT_S = 10.0


@dataclass(slots=True)
class Reading:
    """What one page says of some models together."""

    at_ns: int
    """On the system's monotonic clock."""
    received: float = 0.0
    outcomes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    refused: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    in_flight: float = 0.0
    queue_depth: float = 0.0
    rows: float = 0.0
    batches: float = 0.0
    worker_cpu_s: float = 0.0
    buckets: dict[str, dict[float, float]] = field(
        default_factory=lambda: {stage: defaultdict(float) for stage in STAGES}
    )
    """By stage, requests at or below each bound in seconds."""
    sums_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def since(self, before: "Reading", stage: str) -> StageHistogram:
        """The stage's histogram of what came between."""
        counts = {
            bound: int(count - before.buckets[stage].get(bound, 0.0))
            for bound, count in sorted(self.buckets[stage].items())
        }
        bounds = tuple(bound for bound in counts if bound != float("inf"))
        return StageHistogram(
            stage,
            counts.get(float("inf"), 0),
            self.sums_s[stage] - before.sums_s[stage],
            bounds,
            tuple(counts[bound] for bound in bounds),
        )


class Scraper:
    """Reads the page at each interval on a thread of its own, from `start` to `stop`."""

    def __init__(self, http_address: str, interval_s: float, models: Iterable[str]) -> None:
        """models: those whose series count; what is asked for and is not there has no model's name, and counts too."""
        self._url = f"http://{http_address}/metrics"
        self._interval_s = interval_s
        self._models = {"", *models}
        self._pages: list[tuple[int, str]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scraper", daemon=True)
        self.missed = 0
        """Pages that could not be read."""

    def start(self) -> None:
        """Reads the first page. Raises Unavailable where there is none."""
        try:
            self._read()
        except OSError as error:
            raise Unavailable(f"{self._url}: {error}") from None
        self._thread.start()

    def stop(self) -> list[Reading]:
        """Reads a last page, once the server has nothing more in flight; gives what all of them say."""
        self._stopping.set()
        self._thread.join()
        until_s = time.monotonic() + SETTLE_S
        while True:
            try:
                self._read()
            except OSError:
                self.missed += 1
                break
            if self._reading(*self._pages[-1]).in_flight == 0 or time.monotonic() > until_s:
                break
            self._pages.pop()
            time.sleep(0.05)
        return [self._reading(*page) for page in self._pages]

    def _run(self) -> None:
        next_s = time.monotonic() + self._interval_s
        while not self._stopping.wait(max(0.0, next_s - time.monotonic())):
            next_s += self._interval_s
            try:
                self._read()
            except OSError:
                self.missed += 1

    def _read(self) -> None:
        with urllib.request.urlopen(self._url, timeout=TIMEOUT_S) as answer:
            at_ns = time.monotonic_ns()
            page = answer.read().decode()
        kept = [line for line in page.splitlines() if line.startswith(KEPT)]
        self._pages.append((at_ns, "\n".join(kept) + "\n"))

    def _reading(self, at_ns: int, page: str) -> Reading:
        found = Reading(at_ns)
        for family in text_string_to_metric_families(page):
            for name, labels, value, *_ in family.samples:
                if "model" in labels and labels["model"] not in self._models:
                    continue
                if name == f"{STAGE_METRIC}_bucket":
                    found.buckets[labels["stage"]][float(labels["le"])] += value
                elif name == f"{STAGE_METRIC}_sum":
                    found.sums_s[labels["stage"]] += value
                elif name == "steelyard_requests_received_total":
                    found.received += value
                elif name == "steelyard_requests_total":
                    found.outcomes[labels["outcome"]] += value
                elif name == "steelyard_refused_total":
                    found.refused[labels["reason"]] += value
                elif name == "steelyard_in_flight":
                    found.in_flight += value
                elif name == "steelyard_queue_depth":
                    found.queue_depth += value
                elif name == "steelyard_rows_total":
                    found.rows += value
                elif name == "steelyard_batches_total":
                    found.batches += value
                elif name == "steelyard_worker_cpu_seconds_total":
                    found.worker_cpu_s += value
        return found
