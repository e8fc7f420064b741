"""Golden examples of versions that serve, run again and again in the background: when, and what follows."""

import asyncio
import contextlib
import heapq
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from steelyard.clock import Clock
from steelyard.errors import ManifestError, RepositoryError
from steelyard.models.digest import GOLDEN_DIRECTORY
from steelyard.models.golden import GoldenExample, golden_paths, read_example
from steelyard.observe.logs import log
from steelyard.serving.catalog import Catalog
from steelyard.serving.engine import Engine
from steelyard.serving.golden_turns import ALONE, Place, Turn
from steelyard.serving.version import ServedVersion

# How long an example waits where requests would have to wait for it: some runs of most models.
GIVE_WAY_NS = 100_000_000

# The heap of what is due is made anew, without what no longer stands, at twice what stood the last time and above this.
DUE_KEPT_BELOW = 64

T = TypeVar("T")


class GoldenRounds:
    """Examines what is served, one example at a time over the whole worker, and only where no request waits for it.

    Lives on the event loop and follows the catalog. Examples are read anew for each round, on a thread of its own: such
    as were added to a version in production are run in its next round. What begins to fail, and what passes again, is
    logged once and announced where it changes what health says.

    Of several workers each has its own rounds, as its `place` says. Of what changes there the others are `told`, by the
    model's name, and whether they are to examine it again: not where that was done for what another had told.
    """

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        clock: Clock,
        place: Place = ALONE,
        told: Callable[[str, bool], None] = lambda model, again: None,
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._clock = clock
        self._place = place
        self._told = told
        self._turns: dict[str, dict[int, Turn]] = {}
        # Entries outlive their turns, and hold nothing of the version, until they come to the top.
        self._due: list[tuple[int, int, str, int]] = []
        self._due_limit = DUE_KEPT_BELOW
        self._sequence = 0
        self._changed = asyncio.Event()
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="golden")
        catalog.watch(self._follow)

    async def run(self) -> None:
        """Examines for ever."""
        while True:
            due_ns = self.next_due_ns()
            now_ns = self._clock.now_ns()
            if due_ns is not None and due_ns <= now_ns:
                await self.step()
                continue
            self._changed.clear()
            wait_s = None if due_ns is None else (due_ns - now_ns) / 1e9
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait_s)

    def next_due_ns(self) -> int | None:
        """When the next example is due, in the clock's nanoseconds; None where no version is examined."""
        turn = self._first()
        return None if turn is None else turn.due_ns

    async def step(self) -> None:
        """Runs the example that is due first, and says when that version is due again."""
        turn = self._first()
        if turn is None:
            return
        # A fault of ours must not end the rounds: the next one may do better.
        try:
            turn.due_ns = await self._proceed(turn)
        except Exception as error:
            turn.left = None
            turn.due_ns = self._next_round_ns(turn)
            log(
                "golden.fault",
                level=logging.ERROR,
                model=turn.version.model,
                version=turn.version.number,
                exception=repr(error),
            )
        if self._turns.get(turn.version.model, {}).get(turn.version.number) is turn:
            self._push(turn)

    def look(self, model: str) -> None:
        """Has a round of what is served of `model` begin now, or after the one that is going on: another worker has
        found that something has changed."""
        for turn in self._turns.get(model, {}).values():
            if turn.interval_ns:
                turn.asked = True
                turn.due_ns = self._clock.now_ns()
                self._push(turn)
        self._changed.set()

    def close(self) -> None:
        """Ends the reading thread without waiting for what it does."""
        self._reading.shutdown(wait=False, cancel_futures=True)

    def _first(self) -> Turn | None:
        """The turn that is due first, after what no longer stands has been cleared away."""
        while self._due:
            _, sequence, model, number = self._due[0]
            turn = self._turns.get(model, {}).get(number)
            if turn is not None and turn.sequence == sequence:
                return turn
            heapq.heappop(self._due)
        return None

    def _push(self, turn: Turn) -> None:
        if not turn.interval_ns:
            return
        self._sequence += 1
        turn.sequence = self._sequence
        heapq.heappush(self._due, _entry(turn))
        if len(self._due) > self._due_limit:
            turns = [turn for turns in self._turns.values() for turn in turns.values() if turn.sequence]
            self._due = [_entry(turn) for turn in turns]
            heapq.heapify(self._due)
            self._due_limit = max(DUE_KEPT_BELOW, 2 * len(self._due))

    def _follow(self, model: str) -> None:
        """Takes up what is served of `model` now, and lets go of what no longer is."""
        served = self._catalog.served(model)
        known = self._turns.get(model, {})
        gone = [turn.version for number, turn in known.items() if served.get(number) is not turn.version]
        for version in gone:
            version.slot.set_failing(0)
            if version.failing:
                self._told(model, False)
        turns = {}
        begun = []
        for number, version in served.items():
            turn = known.get(number)
            if turn is None or turn.version is not version:
                turn = self._begin(version)
                begun.append(turn)
            turns[number] = turn
        if turns:
            self._turns[model] = turns
        else:
            self._turns.pop(model, None)
        for turn in begun:
            self._push(turn)
        self._changed.set()

    def _begin(self, version: ServedVersion) -> Turn:
        """Counts what became of the examples at load; the first round comes within one interval."""
        failing = version.failing
        if version.golden_passed or failing:
            version.slot.examined(version.golden_passed, len(failing), self._clock.unix_ns() // 1_000_000)
            version.slot.set_failing(len(failing))
        if failing:
            self._told(version.model, False)
        for name, problem in failing.items():
            _log_failing(version, name, problem)
        turn = Turn(version, int(version.manifest.serving.golden.interval_s * 1e9), 0)
        turn.due_ns = self._next_round_ns(turn)
        return turn

    def _next_round_ns(self, turn: Turn) -> int:
        now_ns = self._clock.now_ns()
        if turn.asked or not turn.interval_ns:
            return now_ns
        version = turn.version
        return self._place.next_round_ns(version.model, version.number, turn.interval_ns, now_ns)

    async def _proceed(self, turn: Turn) -> int:
        """Runs the next example of a round; gives when the version's next is due."""
        version = turn.version
        if turn.left is None:
            turn.told, turn.asked = turn.asked, False
            try:
                paths = await self._read(golden_paths, version.path)
            except RepositoryError as error:
                self._note(turn, GOLDEN_DIRECTORY, str(error))
                return self._next_round_ns(turn)
            self._keep_only(turn, {path.name for path in paths})
            turn.left = deque(paths)
        if turn.left:
            if not await self._examine(turn, turn.left[0]):
                return self._clock.now_ns() + GIVE_WAY_NS
            turn.left.popleft()
        if turn.left:
            return self._clock.now_ns()
        turn.left = None
        return self._next_round_ns(turn)

    async def _examine(self, turn: Turn, path: Path) -> bool:
        """Runs the example at `path`; False where it has to give way to requests."""
        version = turn.version
        if not self._engine.may_examine(version):
            return False
        try:
            example = await self._read(_read_if_there, path)
        except (ManifestError, RepositoryError) as error:
            self._note(turn, path.name, str(error))
            return True
        if example is not None:
            # Requests may have come while it was read.
            if not self._engine.may_examine(version):
                return False
            self._note(turn, path.name, await self._engine.examine(version, example))
        return True

    async def _read(self, read: Callable[[Path], T], path: Path) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, read, path)

    def _note(self, turn: Turn, name: str, problem: str) -> None:
        """Takes what came of an example; an empty `problem` is none."""
        version = turn.version
        if version.retired:
            return
        version.slot.examined(not problem, bool(problem), self._clock.unix_ns() // 1_000_000)
        failing = dict(version.failing)
        was_failing = failing.pop(name, None) is not None
        if problem:
            failing[name] = problem
        if problem and not was_failing:
            _log_failing(version, name, problem)
        elif was_failing and not problem:
            log("golden.passing", model=version.model, version=version.number, example=name)
        self._set_failing(turn, failing)

    def _keep_only(self, turn: Turn, names: set[str]) -> None:
        """Forgets examples that fail and are no longer there."""
        version = turn.version
        for name in version.failing.keys() - names:
            log("golden.removed", model=version.model, version=version.number, example=name)
        self._set_failing(turn, {name: why for name, why in version.failing.items() if name in names})

    def _set_failing(self, turn: Turn, failing: dict[str, str]) -> None:
        version = turn.version
        if version.retired:
            return
        was_sound = version.is_sound
        has_changed = failing.keys() != version.failing.keys()
        version.failing = failing
        version.slot.set_failing(len(failing))
        if version.is_sound != was_sound:
            self._catalog.announce(version.model)
        if has_changed:
            self._told(version.model, not turn.told)


def _entry(turn: Turn) -> tuple[int, int, str, int]:
    return turn.due_ns, turn.sequence, turn.version.model, turn.version.number


def _read_if_there(path: Path) -> GoldenExample | None:
    """The example at `path`, None where it has been removed since the round began."""
    try:
        return read_example(path)
    except RepositoryError:
        if path.is_dir():
            raise
        return None


def _log_failing(version: ServedVersion, name: str, problem: str) -> None:
    log(
        "golden.failing",
        level=logging.ERROR,
        model=version.model,
        version=version.number,
        example=name,
        problem=problem,
    )
