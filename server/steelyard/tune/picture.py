"""The frontier as a picture: SVG, written by hand, since it is a few lines and dots."""

import math
from collections.abc import Sequence
from html import escape

from steelyard.tune.candidate import Candidate
from steelyard.tune.frontier import Point, frontier

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 40, 50
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#8d6a9f", "#c08a2b", "#555555")


def svg(title: str, points: Sequence[Point], chosen: Point | None, p99_ms: float) -> str:
    """p99 (logarithmic) over answers a second, a colour for each candidate, the frontier as a line.

    What was not answered at all is left out.
    """
    shown = [point for point in points if math.isfinite(point.sample.p99_ms) and point.sample.p99_ms > 0]
    most = max((point.sample.answers_per_s for point in shown), default=1.0) * 1.05 or 1.0
    times = [p99_ms, *(point.sample.p99_ms for point in shown)]
    low, high = math.log10(min(times) / 1.3), math.log10(max(times) * 1.3)

    def x(rate: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * rate / most

    def y(ms: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(ms) - low) / (high - low)

    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#888"/>',
        f'<text x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">answers a second</text>',
        f'<text transform="translate(16 {(TOP + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">p99, ms</text>',
    ]
    for part in range(5):
        rate = most * part / 4
        parts.append(f'<text x="{x(rate):.1f}" y="{bottom + 18}" text-anchor="middle">{rate:.0f}</text>')
    for ms in _ticks(10**low, 10**high):
        parts.append(f'<path d="M{LEFT} {y(ms):.1f}H{right}" stroke="#eee"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(ms) + 4:.1f}" text-anchor="end">{ms:g}</text>')
    parts.append(f'<path d="M{LEFT} {y(p99_ms):.1f}H{right}" stroke="#d1495b" stroke-dasharray="5 4"/>')
    line = "L".join(
        f"{x(one.sample.answers_per_s):.1f} {y(one.sample.p99_ms):.1f}" for one in frontier(shown)
    )
    if line:
        parts.append(f'<path d="M{line}" fill="none" stroke="#333" stroke-width="1.5"/>')
    candidates: list[Candidate] = list(dict.fromkeys(point.candidate for point in points))
    for point in shown:
        colour = COLOURS[candidates.index(point.candidate) % len(COLOURS)]
        ring = ' stroke="black" stroke-width="2"' if point == chosen else ""
        at = f'cx="{x(point.sample.answers_per_s):.1f}" cy="{y(point.sample.p99_ms):.1f}"'
        parts.append(f'<circle {at} r="{6 if ring else 4}" fill="{colour}"{ring}/>')
    for place, candidate in enumerate(candidates):
        top = TOP + 10 + 20 * place
        colour = COLOURS[place % len(COLOURS)]
        parts.append(f'<circle cx="{right + 20}" cy="{top - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{right + 30}" y="{top}">{escape(str(candidate))}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the two."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
