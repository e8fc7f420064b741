"""The report's pictures: what happened on one axis of time, and latency over percentiles. SVG, as text."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from load.extras import extra

WIDTH_INCHES = 11.0
ROW_INCHES = 2.1
# Colour-blind safe (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "steelyard",
    "font.family": "sans-serif",
    "font.size": 9,
    # Names are what people write, dollars and all.
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.2,
}


def require_matplotlib() -> Any:
    """Matplotlib with a back end that draws SVG and needs no screen. Raises ConfigError where it is not there."""
    return extra("matplotlib.backends.backend_svg", "matplotlib", "the report")


def timeline(result: dict[str, Any]) -> str:
    """Throughput, latency as callers saw it, and the server's stages, one above the other on the load's time."""
    windows, server = result["windows"], result["server"]
    rows = 2 if server is None else 5
    with _figure(rows) as (figure, axes):
        times = [begin + windows["seconds"] / 2 for begin in windows["begins_s"]]
        _throughput(axes[0], times, windows)
        for name, colour in zip(("p50", "p90", "p99", "max"), COLOURS, strict=False):
            axes[1].plot(times, _gaps(windows[f"{name}_ms"]), label=name, color=colour)
        axes[1].set_ylabel("callers: ms from due")
        _log(axes[1])
        if server is not None:
            _served(axes[2:], server["series"])
        for axis in axes:
            for phase in result["by_phase"]:
                axis.axvline(phase["begins_s"], color="#999999", linewidth=0.7, linestyle=":")
            axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        for phase in result["by_phase"]:
            axes[0].text(phase["begins_s"], 1.02, phase["arrivals"], transform=_over(axes[0]), fontsize=8)
        axes[-1].set_xlabel("seconds since the load began")
        axes[-1].set_xlim(0, times[-1] + windows["seconds"] / 2)
        return _svg(figure)


def percentile_curves(result: dict[str, Any]) -> str:
    """Latency of answers over percentiles, whose axis gives each further nine the same room."""
    with _figure(1, 3.6) as (figure, (axis,)):
        kinds = result["by_request"]
        curves = {"all": result["all"]["curve"], **({} if len(kinds) < 2 else _curves(kinds))}
        far = 1.0
        for (name, curve), colour in zip(curves.items(), COLOURS * len(curves), strict=False):
            nines = [_nines(percent) for percent in curve["percent"]]
            far = max([far, *nines])
            axis.plot(nines, _gaps(curve["ms"]), label=name, color=colour, drawstyle="steps-pre")
        ticks = [percent for percent in TICKS if _nines(percent) <= far]
        axis.set_xticks([_nines(percent) for percent in ticks], [f"{percent:g} %" for percent in ticks])
        axis.set_xlim(0, far)
        axis.set_ylabel("ms from due to the answer")
        axis.set_xlabel("of the answers took at most so long")
        _log(axis)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return _svg(figure)


def _throughput(axis: Any, times: list[float], windows: dict[str, Any]) -> None:
    width_s = windows["seconds"]
    axis.plot(times, [count / width_s for count in windows["due"]], label="due", color="#999999")
    colours = iter(COLOURS * len(windows["ended"]))
    # What went well first, whatever else there is.
    for code, counts in sorted(windows["ended"].items(), key=lambda item: item[0] != "OK"):
        axis.plot(times, [count / width_s for count in counts], label=code, color=next(colours))
    axis.set_ylabel("requests/s")
    axis.set_ylim(bottom=0)


def _served(axes: Any, series: dict[str, Any]) -> None:
    # A step is what came between two readings.
    between = {"drawstyle": "steps-pre"}
    at_s = series["at_s"]
    for axis, percentile in zip(axes[:2], ("p50_ms", "p99_ms"), strict=True):
        for (stage, points), colour in zip(series["stages"].items(), COLOURS, strict=False):
            axis.plot(
                at_s, _gaps([point[percentile] for point in points]), label=stage, color=colour, **between
            )
        axis.set_ylabel(f"server: {percentile[:3]} ms")
        _log(axis)
    axes[2].plot(at_s, series["in_flight"], label="in flight", color=COLOURS[0])
    axes[2].plot(at_s, series["queue_depth"], label="in the queue", color=COLOURS[1])
    axes[2].plot(at_s, _gaps(series["batch_rows"]), label="rows a batch", color=COLOURS[2], **between)
    axes[2].set_ylabel("server")
    axes[2].set_ylim(bottom=0)


@contextmanager
def _figure(rows: int, row_inches: float = ROW_INCHES) -> Iterator[tuple[Any, Any]]:
    """A figure of so many rows on one axis, in the report's style."""
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, row_inches * rows), layout="constrained")
        yield figure, figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]


def _curves(kinds: dict[str, Any]) -> dict[str, Any]:
    return {name: part["curve"] for name, part in kinds.items() if part["curve"]["ms"]}


def _nines(percent: float) -> float:
    return -math.log10(max(1 - percent / 100, 1e-12))


def _gaps(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _log(axis: Any) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _over(axis: Any) -> Any:
    return axis.get_xaxis_transform()


def _svg(figure: Any) -> str:
    text = io.StringIO()
    # Without metadata nothing in it names a place elsewhere, and the same load gives the same picture.
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return text.getvalue()[text.getvalue().index("<svg") :]
