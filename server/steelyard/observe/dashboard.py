"""A Grafana dashboard of one model, made from the metrics that docs/metrics.md describes."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# What Grafana 10 and later read; older files are converted by it, and newer fields are not needed.
SCHEMA_VERSION = 39

WIDTH, HEIGHT = 12, 8
"""Of a panel, in Grafana's grid of 24 columns: two stand side by side."""

QUANTILES = (0.5, 0.99)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph: what is asked of Prometheus, with the legend of each."""

    title: str
    about: str
    unit: str
    """Grafana's name of it."""
    asked: Sequence[tuple[str, str]]
    kind: str = "timeseries"


def dashboard(model: str) -> str:
    """The dashboard of `model`, as JSON to import into Grafana, which asks for the Prometheus to use.

    The same text for the same model, and a uid of the model's own: importing it again replaces it.
    """
    document: Json = {
        "uid": "steelyard-" + hashlib.sha256(model.encode()).hexdigest()[:24],
        "title": f"Steelyard: {model}",
        "tags": ["steelyard"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
            ]
        },
        "panels": [_drawn(panel, place) for place, panel in enumerate(_panels(model))],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _panels(model: str) -> Iterator[Panel]:
    of = f"model={_quoted(model)}"
    every = "[$__rate_interval]"
    yield Panel(
        "Requests by outcome",
        "Requests a second that came to an end, by how.",
        "reqps",
        [(f"sum by (outcome) (rate(steelyard_requests_total{{{of}}}{every}))", "{{outcome}}")],
    )
    yield Panel(
        "Refusals by reason",
        "Requests a second that were turned away before they ran.",
        "reqps",
        [(f"sum by (reason) (rate(steelyard_refused_total{{{of}}}{every}))", "{{reason}}")],
    )
    buckets = f"sum by (le, stage) (rate(steelyard_request_stage_seconds_bucket{{{of}}}{every}))"
    for quantile in QUANTILES:
        yield Panel(
            f"Time by stage, p{quantile * 100:g}",
            f"The {quantile} quantile of the time of answered requests in each stage.",
            "s",
            [(f"histogram_quantile({quantile}, {buckets})", "{{stage}}")],
        )
    yield Panel(
        "Queue",
        "Requests that wait for a batch, and all that are inside.",
        "short",
        [
            (f"sum by (version) (steelyard_queue_depth{{{of}}})", "waiting, version {{version}}"),
            (f"sum by (version) (steelyard_in_flight{{{of}}})", "in flight, version {{version}}"),
        ],
    )
    yield Panel(
        "Rows in a batch",
        "On average.",
        "short",
        [
            (
                f"sum by (version) (rate(steelyard_rows_total{{{of}}}{every})) / "
                f"sum by (version) (rate(steelyard_batches_total{{{of}}}{every}))",
                "version {{version}}",
            )
        ],
    )
    yield Panel(
        "Golden examples that fail",
        "More than none: the version answers otherwise than it should.",
        "short",
        [(f"max by (version) (steelyard_golden_failing{{{of}}})", "version {{version}}")],
    )
    yield Panel(
        "Records of decisions, whole server",
        "Requests a second of all models, by what became of their record.",
        "reqps",
        [(f"sum by (record) (rate(steelyard_decisions_total{every}))", "{{record}}")],
    )

    yield Panel(
        "Days to retirement",
        "Until the end of the last day on which the model serves.",
        "d",
        [(f"(max(steelyard_retirement_timestamp_seconds{{{of}}}) - time()) / 86400", "{{model}}")],
        kind="stat",
    )


def _drawn(panel: Panel, place: int) -> Json:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": place + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": source,
        "gridPos": {
            "x": place % 2 * WIDTH,
            "y": place // 2 * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": source, "expr": asked, "legendFormat": legend}
            for at, (asked, legend) in enumerate(panel.asked)
        ],
    }


def _quoted(text: str) -> str:
    """A label's value as PromQL spells it."""
    return json.dumps(text, ensure_ascii=False)
