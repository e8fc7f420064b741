"""How a load goes, shown in the terminal while it does."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from load.job import Glimpse

# Over how long a rate is shown: shorter jumps, longer hides a burst.
RATE_S = 2.0


class Watcher(Protocol):
    """Whom a load tells how it goes."""

    def planned(self, requests: int) -> None:
        """So many will be sent."""

    def glimpsed(self, glimpses: list[Glimpse | None]) -> None:
        """What each process told last."""


class _Shown:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, rate="–", p50="–", p99="–", in_flight="0", failed="0")
        self._answered: deque[tuple[float, int]] = deque()

    def planned(self, requests: int) -> None:
        """Shows the bar."""
        self._progress.start()
        self._progress.update(self._task, total=requests)

    def glimpsed(self, glimpses: list[Glimpse | None]) -> None:
        """Moves the bar."""
        known = [glimpse for glimpse in glimpses if glimpse is not None]
        fields = {
            "rate": self._rate(sum(glimpse.answered for glimpse in known)),
            "in_flight": f"{sum(glimpse.in_flight for glimpse in known):,}",
            "failed": f"{sum(glimpse.failed for glimpse in known):,}",
        }
        latencies_ms = np.concatenate([glimpse.latencies_ns for glimpse in known]) / 1e6
        if len(latencies_ms):
            fields["p50"], fields["p99"] = (f"{np.percentile(latencies_ms, q):,.2f}" for q in (50, 99))
        self._progress.update(self._task, completed=sum(glimpse.sent for glimpse in known), **fields)

    def _rate(self, answered: int) -> str:
        now_s = self._progress.get_time()
        self._answered.append((now_s, answered))
        while len(self._answered) > 2 and now_s - self._answered[0][0] > RATE_S:
            self._answered.popleft()
        then_s, before = self._answered[0]
        return f"{(answered - before) / (now_s - then_s):,.0f}" if now_s > then_s else "–"


@contextmanager
def shown() -> Iterator[Watcher]:
    """A line on stderr that moves, from when it is known how much is to be sent."""
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f} sent"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rate]}/s answered"),
        TextColumn("p50 {task.fields[p50]} p99 {task.fields[p99]} ms"),
        TextColumn("{task.fields[in_flight]} in flight"),
        TextColumn("[red]{task.fields[failed]} not answered"),
    )
    console = Console(stderr=True, highlight=False)
    progress = Progress(*columns, console=console, refresh_per_second=4)
    try:
        yield _Shown(progress)
    finally:
        # Where nothing was planned there is nothing to end, and to end it prints a line.
        if progress.live.is_started:
            progress.stop()
