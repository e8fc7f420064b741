"""Threads that run batches, and their way back to the event loop."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Work = TypeVar("Work")


class Executor(Generic[Work]):
    """At most `threads` threads, started when they are first needed, each taking work in the order it came.

    `run` does one piece of work on a thread of the pool and must not raise; `done` is then called with the same
    piece on the event loop, once for each. Finished pieces gather while the loop is busy, so that one wake-up brings
    all of them. The scheduler bounds what is submitted: never more than the thread budget allows.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: int,
        run: Callable[[Work], None],
        done: Callable[[list[Work]], None],
    ) -> None:
        self._loop = loop
        self._limit = threads
        self._run = run
        self._done = done
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._finished: list[Work] = []
        self._lock = threading.Lock()

    def submit(self, work: Work) -> None:
        """Hands `work` to the pool. Called on the event loop only."""
        self._busy += 1
        if self._busy > len(self._threads) and len(self._threads) < self._limit:
            thread = threading.Thread(target=self._serve, name=f"batch-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put(work)

    def close(self, wait: bool = True) -> None:
        """Lets the threads finish what they have and end; with `wait`, returns when they have."""
        for _ in self._threads:
            self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
        self._threads.clear()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            self._run(work)
            with self._lock:
                self._finished.append(work)
                first = len(self._finished) == 1
            # What was done must not live on with a thread that waits: a whole session may hang on it.
            del work
            if first:
                self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        with self._lock:
            finished, self._finished = self._finished, []
        self._busy -= len(finished)
        self._done(finished)
