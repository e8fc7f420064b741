"""How a run of the demonstration tells what it is doing."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

Advance = Callable[[], None]


class Progress(Protocol):
    """Whom a run tells."""

    def say(self, text: str) -> None:
        """One step has begun."""

    def bar(self, text: str, total: int) -> AbstractContextManager[Advance]:
        """A step of `total` parts has begun; what it gives is called after each."""


class Silent:
    """Tells nobody."""

    def say(self, text: str) -> None:
        """Nothing."""

    def bar(self, text: str, total: int) -> AbstractContextManager[Advance]:
        """Nothing."""
        return nullcontext(lambda: None)


class Shown:
    """Tells people, on stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """Prints it on a line."""
        self._console.print(f"[dim]·[/dim] {text}")

    @contextmanager
    def bar(self, text: str, total: int) -> Iterator[Advance]:
        """A bar that moves."""
        columns = (
            TextColumn("[dim]·[/dim] {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(show_speed=True),
            TimeElapsedColumn(),
        )
        with Bars(*columns, console=self._console) as progress:
            task = progress.add_task(text, total=total)
            yield lambda: progress.advance(task)
