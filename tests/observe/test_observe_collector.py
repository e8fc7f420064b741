"""The page of /metrics, read back with Prometheus' own parsers, and held against its documentation."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from steelyard._native.observe import Segment, Slot, Ticket
from steelyard.observe import Refusal, Stage
from steelyard.observe.collector import exposition, metrics_registry
from steelyard.observe.segment import SegmentReader
from steelyard.observe.view import TlsReads, WorkerView
from steelyard.pipelines.problems import ACTIONS, RULES

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
# What comes of rollouts, behind it, is held against a server.
WORKERS_PART = DOCUMENT.read_text().split("## Labels")[0]
AWKWARD = ['quo"te', "back\\slash", "new\nline", "模型 🙂", "a}b,c=d{", "\\n", "tab\t", "\r"]


def ask(slot: Slot, execute_ns: int = 40_000, n: int = 2) -> None:
    slot.received(n)
    tickets = [Ticket(None, None, 2, None, 0, 1_000) for _ in range(n)]
    slot.record_batch(tickets, 2 * n, 3_000, 4_000, 4_000 + execute_ns, 5_000 + execute_ns, 1_700_000_000_500)


def page(*views: WorkerView, accept: str = "") -> dict[str, Metric]:
    body, content_type = exposition(metrics_registry(lambda: views, "onnxruntime 1.30"), accept)
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    return {family.name: family for family in parse(body.decode())}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    found = [
        each.value
        for family in families.values()
        for each in family.samples
        if each.name == sample and each.labels == labels
    ]
    assert len(found) == 1, f"{sample} {labels} was found {len(found)} times"
    return float(found[0])


@pytest.fixture
def worker(make_fd) -> Callable[..., tuple[Segment, WorkerView]]:
    def make(number: int = 0, up: bool = True, restarts: int = 0) -> tuple[Segment, WorkerView]:
        fd = make_fd()
        segment = Segment(fd, os.getpid(), 1_700_000_000_000_000_000)
        return segment, WorkerView(number, SegmentReader(fd), up, restarts)

    return make


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_what_was_counted_is_on_the_page(worker, accept: str) -> None:
    segment, view = worker()
    slot = segment.slot("digits", "3")
    ask(slot)
    slot.received(3)
    slot.refused(Refusal.QUEUE_FULL)
    slot.failed()
    slot.set_gauges(1, 1, 640)
    families = page(view, accept=accept)
    model = {"model": "digits", "version": "3"}
    outcomes = {
        outcome: value(families, "steelyard_requests_total", **model, outcome=outcome)
        for outcome in ("answered", "refused", "failed", "cancelled", "lost")
    }
    assert outcomes == {"answered": 2, "refused": 1, "failed": 1, "cancelled": 0, "lost": 0}
    assert value(families, "steelyard_requests_received_total", **model) == 5
    assert value(families, "steelyard_refused_total", **model, reason="queue_full") == 1
    assert value(families, "steelyard_in_flight", **model) == 1
    assert value(families, "steelyard_queue_depth", **model) == 1
    assert value(families, "steelyard_queue_bytes", **model) == 640
    assert value(families, "steelyard_rows_total", **model) == 4
    assert value(families, "steelyard_batches_total", **model) == 1
    assert value(families, "steelyard_last_inference_timestamp_seconds", **model) == 1_700_000_000.5
    build = next(iter(families["steelyard_build" if accept else "steelyard_build_info"].samples)).labels
    assert build["runtime"] == "onnxruntime 1.30"


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_histograms_are_cumulative_and_exact_at_their_bounds(worker, accept: str) -> None:
    segment, view = worker()
    slot = segment.slot("m", "1")
    for execute_ns in (2**15, 2**15 + 1, 2**36 + 1):
        ask(slot, execute_ns, n=1)
    families = page(view, accept=accept)
    labels = {"stage": "execute", "model": "m", "version": "1"}
    buckets = [
        (float(each.labels["le"]), each.value)
        for each in families["steelyard_request_stage_seconds"].samples
        if each.name.endswith("_bucket") and each.labels["stage"] == "execute"
    ]
    assert buckets == sorted(buckets)
    assert dict(buckets)[2**14 / 1e9] == 0
    assert dict(buckets)[2**15 / 1e9] == 1
    assert dict(buckets)[2**16 / 1e9] == 2
    assert dict(buckets)[2**36 / 1e9] == 2
    assert dict(buckets)[float("inf")] == 3
    assert value(families, "steelyard_request_stage_seconds_count", **labels) == 3
    total_ns = 2**15 + 2**15 + 1 + 2**36 + 1
    assert value(families, "steelyard_request_stage_seconds_sum", **labels) == total_ns / 1e9
    assert value(families, "steelyard_batch_rows_bucket", model="m", version="1", le="2.0") == 3
    assert value(families, "steelyard_batch_rows_bucket", model="m", version="1", le="1.0") == 0
    assert value(families, "steelyard_batch_rows_sum", model="m", version="1") == 6


def test_every_stage_has_its_series(worker) -> None:
    segment, view = worker()
    ask(segment.slot("m", "1"))
    samples = page(view)["steelyard_request_stage_seconds"].samples
    assert {each.labels["stage"] for each in samples} == {stage.name.lower() for stage in Stage}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
@pytest.mark.parametrize("name", AWKWARD)
def test_names_survive_the_page(worker, accept: str, name: str) -> None:
    segment, view = worker()
    ask(segment.slot(name, "1"))
    families = page(view, accept=accept)
    assert value(families, "steelyard_rows_total", model=name, version="1") == 4


def test_idle_models_have_no_series(worker) -> None:
    segment, view = worker()
    for i in range(50):
        segment.slot(f"idle-{i}", "1")
    segment.unknown.received()
    segment.unknown.refused(Refusal.NOT_FOUND)
    families = page(view)
    models = {s.labels["model"] for f in families.values() for s in f.samples if "model" in s.labels}
    assert models == {""}
    assert value(families, "steelyard_refused_total", model="", version="", reason="not_found") == 1


def test_golden_examples_of_a_model_that_nobody_asks_have_series_and_nothing_else_has(worker) -> None:
    segment, view = worker()
    slot = segment.slot("digits", "3")
    slot.examined(2, 1, 1_700_000_000_500)
    slot.set_failing(1)
    families = page(view)
    model = {"model": "digits", "version": "3"}
    assert value(families, "steelyard_golden_runs_total", **model, outcome="passed") == 2
    assert value(families, "steelyard_golden_runs_total", **model, outcome="failed") == 1
    assert value(families, "steelyard_golden_failing", **model) == 1
    assert value(families, "steelyard_golden_last_run_timestamp_seconds", **model) == 1_700_000_000.5
    with_model = {f.name for f in families.values() if any(s.labels.get("model") for s in f.samples)}
    assert all("golden" in name for name in with_model)


def test_workers_are_added_up_and_a_dead_ones_gauges_do_not_count(worker) -> None:
    (a, up), (b, down) = worker(0), worker(1, up=False, restarts=4)
    for segment in (a, b):
        ask(segment.slot("m", "1"))
        segment.slot("m", "1").received()
        segment.slot("m", "1").set_gauges(1, 1, 10)
    families = page(up, down)
    model = {"model": "m", "version": "1"}
    assert value(families, "steelyard_requests_received_total", **model) == 6
    assert value(families, "steelyard_in_flight", **model) == 1
    assert value(families, "steelyard_worker_up", worker="0") == 1
    assert value(families, "steelyard_worker_up", worker="1") == 0
    assert value(families, "steelyard_worker_restarts_total", worker="1") == 4
    assert value(families, "steelyard_worker_start_time_seconds", worker="0") == 1_700_000_000
    assert value(families, "steelyard_worker_threads", worker="0") >= 1
    assert {s.labels["worker"] for s in families["steelyard_worker_resident_memory_bytes"].samples} == {"0"}


def test_what_a_process_counts_that_was_replaced_is_the_workers(worker) -> None:
    (now, view), (before, other) = worker(), worker()
    for segment in (now, before):
        ask(segment.slot("m", "1"))
        segment.slot("m" * 4000, "1")
    before.slot("m", "1").received()
    before.slot("m", "1").set_gauges(1, 0, 0)
    families = page(replace(view, other=other.reader))
    model = {"model": "m", "version": "1"}
    assert value(families, "steelyard_requests_received_total", **model) == 5
    assert value(families, "steelyard_in_flight", **model) == 1
    assert value(families, "steelyard_worker_up", worker="0") == 1
    assert value(families, "steelyard_labels_without_slot_total", worker="0") == 2


def test_reads_of_tls_files_are_on_the_page(make_fd) -> None:
    reads = TlsReads().one_more(True).one_more(False).one_more(True)
    families = page(WorkerView(0, SegmentReader(make_fd()), True, 0, reads))
    assert value(families, "steelyard_tls_reads_total", worker="0", outcome="taken") == 2
    assert value(families, "steelyard_tls_reads_total", worker="0", outcome="refused") == 1


def test_a_worker_that_never_came_up_is_down_and_nothing_more(make_fd) -> None:
    families = page(WorkerView(0, SegmentReader(make_fd()), False, 0))
    assert value(families, "steelyard_worker_up", worker="0") == 0
    assert families["steelyard_worker_start_time_seconds"].samples == []


def test_without_workers_there_is_still_a_page() -> None:
    assert "steelyard_worker_up" in page()


def test_registering_does_not_scrape() -> None:
    def unreachable() -> list[WorkerView]:
        raise AssertionError("scraped at registration")

    metrics_registry(unreachable)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/html", "text/plain"),
        (OPENMETRICS, "application/openmetrics-text"),
        (f"{OPENMETRICS};q=0.8,text/plain;q=0.5", "application/openmetrics-text"),
    ],
)
def test_the_format_is_the_one_asked_for(accept: str, content_type: str) -> None:
    body, got = exposition(metrics_registry(list), accept)
    assert got.startswith(content_type)
    assert body.endswith(b"# EOF\n") == ("openmetrics" in content_type)


def test_the_document_names_every_family_and_no_other(worker) -> None:
    segment, view = worker()
    ask(segment.slot("m", "1"))
    suffixes = {"counter": "_total", "info": "_info"}
    families = page(view, accept=OPENMETRICS).values()
    exported = {family.name + suffixes.get(family.type, "") for family in families}
    text = WORKERS_PART
    documented = set(re.findall(r"`((?:steelyard|process)_\w+)`", text))
    assert documented == exported


def test_the_document_gives_each_family_its_type_and_labels(worker) -> None:
    segment, view = worker()
    slot = segment.slot("m", "1")
    ask(slot)
    slot.received()
    slot.refused(Refusal.INVALID)
    slot.name_steps(["prepare file/windows"])
    slot.record_steps([5], [1], [1])
    slot.record_rule(0, 0)
    slot.examined(1, 0, 1)
    slot.padded(10, 2)
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", WORKERS_PART, re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows}
    for family in page(view, accept=OPENMETRICS).values():
        if family.name.startswith("steelyard"):
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            assert documented.pop(family.name + suffix) == (family.type, labels)
    assert documented == {}


def test_steps_and_rules_of_a_pipeline(worker) -> None:
    segment, view = worker()
    slot = segment.slot("digits", "3")
    ask(slot)
    slot.name_steps(["prepare file/windows", "finish y/top_k"])
    slot.record_steps([2_000_000_000, 500], [4, 0], [1, 0])
    slot.record_rule(RULES.index("range"), ACTIONS.index("mark"), 3)
    families = page(view)
    step = {"model": "digits", "version": "3", "phase": "prepare", "step": "file/windows"}
    assert value(families, "steelyard_step_runs_total", **step) == 4
    assert value(families, "steelyard_step_seconds_total", **step) == 2
    assert value(families, "steelyard_step_errors_total", **step) == 1
    broken = {"model": "digits", "version": "3", "rule": "range", "action": "mark"}
    assert value(families, "steelyard_contract_values_total", **broken) == 3
    assert "top_k" not in str(families["steelyard_step_runs"].samples)


def test_the_document_names_every_reason_and_stage() -> None:
    text = DOCUMENT.read_text()
    for name in [*Refusal.__members__, *Stage.__members__]:
        assert f"`{name.lower()}`" in text
