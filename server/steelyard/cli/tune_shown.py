"""What `steelyard tune` tells people of what it found."""

from collections.abc import Sequence
from pathlib import Path

import click

from steelyard.cli.output import print_table
from steelyard.observe.logs import printable
from steelyard.tune.frontier import Point, frontier, nearest
from steelyard.tune.run import Tuned
from steelyard.tune.sample import FEW_ANSWERS

_BAR = 24


def print_tuned(tuned: Tuned, written: Sequence[Path]) -> None:
    """Prints the frontier as a table, the choice, and the files that were written."""
    points, chosen = tuned.found.points, tuned.found.chosen
    most = max((point.sample.answers_per_s for point in points), default=1.0) or 1.0
    shown = frontier(points)
    if chosen is not None and chosen not in shown:
        shown.append(chosen)
    rows = [
        (
            str(point.candidate),
            f"{point.rate_per_s:,.0f}",
            f"{point.sample.answers_per_s:,.0f}",
            f"{point.sample.p50_ms:,.2f}",
            f"{point.sample.p99_ms:,.2f}",
            f"{point.sample.answered:,}",
            "█" * max(1, round(_BAR * point.sample.answers_per_s / most)),
            _remark(point, point == chosen, tuned.p99_ms),
        )
        for point in shown
    ]
    click.echo(f"{tuned.model.name} version {tuned.version}, {tuned.source}, {tuned.threads} threads")
    print_table(
        ("instances x threads", "asked/s", "answers/s", "p50 ms", "p99 ms", "answers", "", " "),
        rows,
        right=("asked/s", "answers/s", "p50 ms", "p99 ms", "answers"),
    )
    if chosen is None:
        least = nearest(points) if points else None
        said = (
            f"{least.sample.p99_ms:.2f} ms at {least.rate_per_s:,.0f} requests a second, by {least.candidate}"
            f" ({least.problem(tuned.p99_ms) or 'which failed at a lower rate'})"
            if least is not None
            else "no answer at all"
        )
        click.echo(f"nothing meets a p99 of {tuned.p99_ms:g} ms; the best that was found is {said}")
    elif chosen.candidate == tuned.base:
        click.echo(f"chosen: {chosen.candidate}, as it is served now")
    else:
        click.echo(f"chosen: {chosen.candidate}; so far: {tuned.base}")
    if chosen is not None and chosen.sample.few:
        click.echo(
            f"its p99 is of {chosen.sample.answered} answers only, fewer than {FEW_ANSWERS}: "
            "with more --seconds there are more"
        )
    for path in written:
        click.echo(f"written: {printable(str(path))}")


def _remark(point: Point, chosen: bool, p99_ms: float) -> str:
    """What the table says of a point in words."""
    said = "chosen" if chosen else point.problem(p99_ms)
    return ", ".join(filter(None, (said, "few answers" if point.sample.few else "")))
