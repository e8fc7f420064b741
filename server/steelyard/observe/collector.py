"""The workers' segments as Prometheus metrics, merged at scrape without asking a worker."""

import itertools
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from steelyard import __version__
from steelyard.observe.decision_metrics import decision_metrics
from steelyard.observe.histogram import FIRST_EXPONENT, LAST_EXPONENT, HistogramCounts
from steelyard.observe.layout import EXACT_BATCH, Stage
from steelyard.observe.process import process_use
from steelyard.observe.segment import SegmentSnapshot, SlotCounts, merge
from steelyard.observe.view import WorkerView

# One bound an octave, from 1 us to 69 s: a series is 30 lines, a model 180. The quantiles that steelyard
# itself shows come from the 16 times finer buckets.
EXPONENTS = range(10, LAST_EXPONENT)
STAGE_BOUNDS = tuple(str(2**exponent / 1e9) for exponent in EXPONENTS)
BATCH_BOUNDS = tuple(2**exponent for exponent in range(EXACT_BATCH.bit_length()))

MODEL_LABELS = ("model", "version")


class SegmentCollector(Collector):
    """Reads every worker's segment at each scrape. Models that no request came for have no series but
    those of their golden examples.

    `workers` is called at each scrape; `runtime` names what the models run on, as build_info shows it.
    """

    def __init__(self, workers: Callable[[], Iterable[WorkerView]], runtime: str = "") -> None:
        self._workers = workers
        self._runtime = runtime

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not scrape, for the workers may not be there yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        views = list(self._workers())
        snapshots = [view.reader.snapshot() for view in views]
        others = [None if view.other is None else view.other.snapshot() for view in views]
        counts = merge(
            itertools.chain(
                (
                    snapshot if view.up else snapshot.without_gauges()
                    for view, snapshot in zip(views, snapshots, strict=True)
                ),
                filter(None, others),
            )
        )
        asked = [slot for slot in counts.values() if slot.received]
        yield from _requests(asked)
        yield from _gauges(asked)
        yield from _batches([slot for slot in asked if slot.batches])
        yield from _padding([slot for slot in asked if slot.ragged_places])
        yield from _pipelines([slot for slot in asked if slot.steps])
        yield from _golden([slot for slot in counts.values() if slot.golden_last_unix_ms])
        yield from _worker_states(views, snapshots, others)
        yield from _worker_processes(views, snapshots)
        yield from decision_metrics(
            (str(view.number), snapshot.decisions if other is None else snapshot.decisions + other.decisions)
            for view, snapshot, other in zip(views, snapshots, others, strict=True)
        )
        yield InfoMetricFamily(
            "steelyard_build",
            "What is running: versions of the server, of Python and of the runtime.",
            {"version": __version__, "python": platform.python_version(), "runtime": self._runtime},
        )


def _requests(slots: Sequence[SlotCounts]) -> Iterator[Metric]:
    received = CounterMetricFamily(
        "steelyard_requests_received", "Requests that came in.", labels=MODEL_LABELS
    )
    requests = CounterMetricFamily(
        "steelyard_requests", "Requests that came to an end, by outcome.", labels=(*MODEL_LABELS, "outcome")
    )
    refused = CounterMetricFamily(
        "steelyard_refused",
        "Requests turned away before they ran, by reason.",
        labels=(*MODEL_LABELS, "reason"),
    )
    for slot in slots:
        labels = [slot.model, slot.version]
        received.add_metric(labels, slot.received)
        outcomes = {
            "answered": slot.answered,
            "refused": slot.refused_total,
            "failed": slot.failed,
            "cancelled": slot.cancelled,
            "lost": slot.lost,
        }
        for outcome, count in outcomes.items():
            requests.add_metric([*labels, outcome], count)
        for reason, count in slot.refused.items():
            if count:
                refused.add_metric([*labels, reason.name.lower()], count)
    return iter((received, requests, refused))


def _gauges(slots: Sequence[SlotCounts]) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily(
        "steelyard_in_flight", "Requests inside, waiting ones included.", labels=MODEL_LABELS
    )
    depth = GaugeMetricFamily("steelyard_queue_depth", "Requests that wait for a batch.", labels=MODEL_LABELS)
    size = GaugeMetricFamily(
        "steelyard_queue_bytes", "Bytes of the requests that wait for a batch.", labels=MODEL_LABELS
    )
    for slot in slots:
        labels = [slot.model, slot.version]
        in_flight.add_metric(labels, slot.in_flight)
        depth.add_metric(labels, slot.queue_depth)
        size.add_metric(labels, slot.queue_bytes)
    return iter((in_flight, depth, size))


def _batches(slots: Sequence[SlotCounts]) -> Iterator[Metric]:
    stages = HistogramMetricFamily(
        "steelyard_request_stage_seconds",
        "Time of answered requests in each stage; total is from the first byte to the encoded answer.",
        labels=("stage", *MODEL_LABELS),
    )
    sizes = HistogramMetricFamily("steelyard_batch_rows", "Rows of executed batches.", labels=MODEL_LABELS)
    rows = CounterMetricFamily("steelyard_rows", "Rows in executed batches.", labels=MODEL_LABELS)
    batches = CounterMetricFamily("steelyard_batches", "Executed batches.", labels=MODEL_LABELS)
    last = GaugeMetricFamily(
        "steelyard_last_inference_timestamp_seconds", "When the last batch was executed.", labels=MODEL_LABELS
    )
    for slot in slots:
        labels = [slot.model, slot.version]
        for stage in Stage:
            histogram = slot.stages[stage]
            stages.add_metric([stage.name.lower(), *labels], _le(histogram), histogram.sum_ns / 1e9)
        counts = slot.batch_sizes[:, 0]
        bounds = [(str(float(bound)), int(counts[: bound + 1].sum())) for bound in BATCH_BOUNDS]
        sizes.add_metric(labels, [*bounds, ("+Inf", int(counts.sum()))], slot.rows)
        rows.add_metric(labels, slot.rows)
        batches.add_metric(labels, slot.batches)
        last.add_metric(labels, slot.last_inference_unix_ms / 1e3)
    return iter((stages, sizes, rows, batches, last))


def _padding(slots: Sequence[SlotCounts]) -> Iterator[Metric]:
    places = CounterMetricFamily(
        "steelyard_ragged_places",
        "Places in batches whose rows may differ in length, padding included.",
        labels=MODEL_LABELS,
    )
    padding = CounterMetricFamily(
        "steelyard_ragged_padding", "Those of the places that were padding.", labels=MODEL_LABELS
    )
    ratio = GaugeMetricFamily(
        "steelyard_padding_ratio",
        "Padding as a share of all places, since counting began; 0 is none.",
        labels=MODEL_LABELS,
    )
    for slot in slots:
        labels = [slot.model, slot.version]
        places.add_metric(labels, slot.ragged_places)
        padding.add_metric(labels, slot.ragged_padding)
        ratio.add_metric(labels, slot.ragged_padding / slot.ragged_places)
    return iter((places, padding, ratio))


def _pipelines(slots: Sequence[SlotCounts]) -> Iterator[Metric]:
    labels = (*MODEL_LABELS, "phase", "step")
    runs = CounterMetricFamily("steelyard_step_runs", "Runs of a step of a pipeline.", labels=labels)
    seconds = CounterMetricFamily("steelyard_step_seconds", "Time in a step of a pipeline.", labels=labels)
    errors = CounterMetricFamily(
        "steelyard_step_errors",
        "Rows that a step of a pipeline could not take, and runs that failed.",
        labels=labels,
    )
    rules = CounterMetricFamily(
        "steelyard_contract_values",
        "Values that broke a rule of the data contract, by what was done about them.",
        labels=(*MODEL_LABELS, "rule", "action"),
    )
    for slot in slots:
        for name, step in slot.steps.items():
            if step.runs:
                values = [slot.model, slot.version, *name.split(" ", 1)]
                runs.add_metric(values, step.runs)
                seconds.add_metric(values, step.sum_ns / 1e9)
                errors.add_metric(values, step.errors)
        for (rule, action), count in slot.rules.items():
            rules.add_metric([slot.model, slot.version, rule, action], count)
    return iter((runs, seconds, errors, rules))


def _golden(slots: Sequence[SlotCounts]) -> Iterator[Metric]:
    runs = CounterMetricFamily(
        "steelyard_golden_runs",
        "Golden examples that were run, by outcome.",
        labels=(*MODEL_LABELS, "outcome"),
    )
    failing = GaugeMetricFamily(
        "steelyard_golden_failing", "Golden examples that fail as things stand.", labels=MODEL_LABELS
    )
    last = GaugeMetricFamily(
        "steelyard_golden_last_run_timestamp_seconds",
        "When the last golden example was run.",
        labels=MODEL_LABELS,
    )
    for slot in slots:
        labels = [slot.model, slot.version]
        runs.add_metric([*labels, "passed"], slot.golden_passed)
        runs.add_metric([*labels, "failed"], slot.golden_failed)
        failing.add_metric(labels, slot.golden_failing)
        last.add_metric(labels, slot.golden_last_unix_ms / 1e3)
    return iter((runs, failing, last))


def _le(histogram: HistogramCounts) -> list[tuple[str, float]]:
    octaves = histogram.octaves()
    counts = [octaves[exponent - FIRST_EXPONENT] for exponent in EXPONENTS]
    return [*zip(STAGE_BOUNDS, counts, strict=True), ("+Inf", histogram.count)]


def _worker_states(
    views: Sequence[WorkerView],
    snapshots: Sequence[SegmentSnapshot],
    others: Sequence[SegmentSnapshot | None],
) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "steelyard_worker_up", "1 where the worker takes requests, else 0.", labels=("worker",)
    )
    restarts = CounterMetricFamily(
        "steelyard_worker_restarts", "How often a worker that had died was started again.", labels=("worker",)
    )
    started = GaugeMetricFamily(
        "steelyard_worker_start_time_seconds", "When the worker was started.", labels=("worker",)
    )
    without = CounterMetricFamily(
        "steelyard_labels_without_slot",
        "How often a model and version found no room of its own and was counted under _other.",
        labels=("worker",),
    )
    tls = CounterMetricFamily(
        "steelyard_tls_reads",
        "How often the files of TLS had changed, by whether they could be used.",
        labels=("worker", "outcome"),
    )
    for view, snapshot, other in zip(views, snapshots, others, strict=True):
        labels = [str(view.number)]
        tls.add_metric([*labels, "taken"], view.tls_reads.taken)
        tls.add_metric([*labels, "refused"], view.tls_reads.refused)
        up.add_metric(labels, view.up)
        restarts.add_metric(labels, view.restarts)
        without.add_metric(
            labels, snapshot.labels_without_slot + (0 if other is None else other.labels_without_slot)
        )
        if snapshot.worker_starts:
            started.add_metric(labels, snapshot.worker_start_unix_ns / 1e9)
    return iter((up, restarts, started, without, tls))


def _worker_processes(views: Sequence[WorkerView], snapshots: Sequence[SegmentSnapshot]) -> Iterator[Metric]:
    memory = GaugeMetricFamily(
        "steelyard_worker_resident_memory_bytes", "Memory that the worker holds.", labels=("worker",)
    )
    cpu = CounterMetricFamily(
        "steelyard_worker_cpu_seconds", "Processor time of the worker's process.", labels=("worker",)
    )
    threads = GaugeMetricFamily("steelyard_worker_threads", "Threads of the worker.", labels=("worker",))
    fds = GaugeMetricFamily(
        "steelyard_worker_open_fds", "Open descriptors of the worker.", labels=("worker",)
    )
    for view, snapshot in zip(views, snapshots, strict=True):
        use = process_use(snapshot.worker_pid) if view.up else None
        if use is not None:
            labels = [str(view.number)]
            memory.add_metric(labels, use.resident_bytes)
            cpu.add_metric(labels, use.cpu_seconds)
            threads.add_metric(labels, use.threads)
            fds.add_metric(labels, use.open_fds)
    return iter((memory, cpu, threads, fds))


def metrics_registry(workers: Callable[[], Iterable[WorkerView]], runtime: str = "") -> CollectorRegistry:
    """A registry with the workers' metrics and those of this process, and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SegmentCollector(workers, runtime))
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The page and its content type: OpenMetrics where `Accept` asks for it, else Prometheus' text.

    A page over hundreds of models that ran takes a good part of a second: too long for an event loop.
    """
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
