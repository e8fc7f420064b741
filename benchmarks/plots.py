"""Pictures of figures: bars with their medians, and every round as a point."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from benchmarks.benchmark import Chart

# Draws into files and needs no display; nothing in the picture depends on when it was drawn.
matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "steelyard"

from matplotlib.figure import Figure  # noqa: E402  # after the backend was chosen

INCHES_A_BAR = 0.34
INCHES_A_CHART = 0.9
WIDTH_INCHES = 9.0
# Figures that differ by more than this factor are told apart on a logarithmic scale only.
LINEAR_UP_TO = 50


def draw(charts: Sequence[Chart], file: Path) -> None:
    """Writes all charts, one below the other, as SVG or whatever the file's name ends in."""
    heights = [INCHES_A_CHART + INCHES_A_BAR * len(chart.bars) for chart in charts]
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), layout="constrained")
    panels = figure.subplots(len(charts), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for chart, panel in zip(charts, panels[:, 0], strict=True):
        names = list(chart.bars)
        medians = [statistics.median(chart.bars[name]) for name in names]
        if min(medians) > 0 and max(medians) > LINEAR_UP_TO * min(medians):
            # No bars: their lengths mean nothing where the axis has no nought.
            panel.set_xscale("log")
            panel.set_yticks(range(len(names)), names)
            panel.plot(medians, range(len(names)), "|", color="#1f3a5f", markersize=14)
        else:
            panel.barh(names, medians, height=0.6, color="#c8d6e5")
        for row, name in enumerate(names):
            rounds = chart.bars[name]
            panel.plot([min(rounds), max(rounds)], [row, row], color="#1f3a5f", linewidth=1)
            panel.plot(rounds, [row] * len(rounds), ".", color="#1f3a5f", markersize=4)
            panel.annotate(
                _figure(medians[row]), (medians[row], row), (4, 6), textcoords="offset points", fontsize=7
            )
        panel.invert_yaxis()
        panel.set_title(chart.title, fontsize=10, loc="left")
        panel.set_xlabel(chart.unit, fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
