"""The report of a load: one HTML file that needs nothing else, made of the JSON result alone."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load.charts import percentile_curves, require_matplotlib, timeline
from load.extras import extra

SHOWN = ("p50", "p90", "p99", "p99.9", "p99.99")


def require_report() -> None:
    """Raises ConfigError where what the report is made with is not installed: before a load, not after it."""
    require_matplotlib()
    extra("jinja2", "jinja2", "the report")


def report_html(result: dict[str, Any]) -> str:
    """The page."""
    jinja2 = extra("jinja2", "jinja2", "the report")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("report.html").read_text())
    # Pictures are ours, and text in them was escaped by what drew them.
    page: str = template.render(
        result=result,
        parts=[("all", result["all"]), *result["by_request"].items()],
        timeline=jinja2.utils.markupsafe.Markup(timeline(result)),
        curves=jinja2.utils.markupsafe.Markup(percentile_curves(result)),
        began=datetime.fromtimestamp(result["began_unix_s"], UTC).strftime("%Y-%m-%d %H:%M UTC"),
        scenario=json.dumps(result["scenario"], indent=1),
        shown=SHOWN,
        number=number,
        count=lambda value: f"{value:,}",
    )
    return page


def number(value: float | None, none: str = "–") -> str:
    """A measured number with three digits that count."""
    if value is None:
        return none
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
