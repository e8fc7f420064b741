"""All workers of a server: started, asked and told together, and replaced one after the other."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from steelyard.config import Settings
from steelyard.errors import Conflict, InvalidRequest, Unavailable
from steelyard.observe.logs import log
from steelyard.observe.view import WorkerView
from steelyard.rollout.directive import Directive
from steelyard.supervisor.life import WorkerLife
from steelyard.supervisor.listeners import Handed
from steelyard.supervisor.process import Around, WorkerProcess
from steelyard.supervisor.spreading import Spreading

if TYPE_CHECKING:
    from steelyard.observe.segment import SlotCounts


@dataclass(frozen=True, slots=True)
class Replaced:
    """A worker that was replaced: its place, both processes, and what it took."""

    worker: int
    before_pid: int
    pid: int
    took_s: float


class Workers:
    """One place for each worker of the settings. Lives on the supervisor's event loop.

    At the start all of them begin together, when the last has loaded. `caught_up` is awaited before a worker is let
    in: what others were asked to keep ready meanwhile, it has to have too.
    """

    def __init__(self, settings: Settings, listeners: Callable[[int], Sequence[Handed]]) -> None:
        self._settings = settings
        self._known = asyncio.Event()
        self.around = Around(told=self._told, loaded=self._loaded, ended=self._ended, known=self._known.wait)
        self._places = [
            WorkerProcess(number, settings, listeners(number), self.around)
            for number in range(settings.workers)
        ]
        if settings.workers > 1:
            everybodys = [{one.fd for one in listeners(number)} for number in range(settings.workers)]
            shared = set.intersection(*everybodys)
            self.around.listeners += [
                [one for one in listeners(number) if one.fd not in shared]
                for number in range(settings.workers)
            ]
        self._spreading = Spreading(self.connected)
        self._begun = False
        self._restarting = False
        self._stopping = False
        self._runs: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.directives: Callable[[], Sequence[Directive]] = tuple
        self.caught_up: Callable[[WorkerLife], Awaitable[None]] = _at_once
        self.told: Callable[[WorkerLife, Mapping[str, Any]], None] = lambda life, message: None
        """Hears what a worker says by itself."""
        self.gone: Callable[[WorkerLife], None] = lambda life: None
        """Hears of each that has ended."""
        self.around.directives = lambda: self.directives()

    @property
    def is_ready(self) -> bool:
        """Whether all have begun, and at least one takes requests now."""
        return self._begun and any(place.ready for place in self._places)

    @property
    def refusal(self) -> str | None:
        """Why one of the first workers could not begin to serve."""
        return next((place.refusal for place in self._places if place.refusal is not None), None)

    @property
    def starts(self) -> int:
        """How often a worker was started."""
        return sum(place.starts for place in self._places)

    @property
    def pids(self) -> list[int]:
        """The process in each place."""
        return [place.life.pid if place.life is not None else 0 for place in self._places]

    def views(self) -> list[WorkerView]:
        """The workers as the metrics see them."""
        return [place.view() for place in self._places]

    def counted(self, model: str, version: str) -> "SlotCounts":
        """What all workers have counted of a model's version."""
        # See `WorkerProcess`: not before the processes are started.
        from steelyard.observe.segment import SlotCounts

        counts = SlotCounts(model, version)
        for place in self._places:
            for reader in place.view().readers:
                counts += reader.snapshot().slot(model, version)
        return counts

    def all(self) -> list[WorkerLife]:
        """The process of each place, whether it runs or not, and those beside it while it is replaced."""
        return [life for place in self._places for life in place.lives]

    def connected(self) -> list[WorkerLife]:
        """Processes that run and can be asked."""
        return [life for life in self.all() if life.pid and not life.ended.is_set()]

    async def spawn(self) -> None:
        """Starts the processes: they import what they need, and wait to be told what to do."""
        await asyncio.gather(*(place.spawn() for place in self._places))

    def tell(self) -> None:
        """Tells the processes what to do: they load their models, and take no request before `run`."""
        self._known.set()

    async def run(self) -> None:
        """Keeps all running; returns when they were stopped, or one refused to begin."""
        self.tell()
        loop = asyncio.get_running_loop()
        self._runs = [loop.create_task(place.run()) for place in self._places]
        self._begin_together()
        await asyncio.wait(self._runs, return_when=asyncio.FIRST_COMPLETED)

    def restart_later(self, by: str) -> None:
        """Replaces all workers, beside everything else."""
        self._start(self._restart_and_tell(by))

    async def _restart_and_tell(self, by: str) -> None:
        try:
            await self.restart(by)
        except Exception as error:
            log("workers.not_restarted", by=by, reason=str(error))

    async def restart(self, by: str) -> list[Replaced]:
        """Replaces one worker after the other, and returns when the last has finished what it had begun.

        Raises Conflict where that is being done already, Unavailable where the server starts or stops, LoadFailed where
        a new process cannot serve, and InvalidRequest with the grpcio front, which hands no listener over.
        """
        if self._settings.front != "http2":
            raise InvalidRequest("expected front = http2: workers of the grpcio front cannot be replaced")
        if self._restarting:
            raise Conflict("the workers are being restarted already")
        if not self._begun or self._stopping:
            raise Unavailable(f"the server is {'stopping' if self._stopping else 'starting'}")
        self._restarting = True
        log("workers.restarting", by=by, workers=len(self._places))
        try:
            replaced = []
            for place in self._places:
                before = place.life
                # One that has died is about to be started anew.
                if before is None or not before.ready or self._stopping:
                    continue
                began_s = monotonic()
                life = await place.replace()
                done = Replaced(place.number, before.pid, life.pid, round(monotonic() - began_s, 3))
                log("worker.replaced", worker=done.worker, before=done.before_pid, pid=done.pid)
                replaced.append(done)
            return replaced
        finally:
            self._restarting = False

    async def stop(self) -> None:
        """Lets all finish what they have accepted, together."""
        self._stopping = True
        self.tell()
        await asyncio.gather(*(place.stop() for place in self._places))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._runs)

    def kill(self) -> None:
        """Ends all of them at once."""
        for place in self._places:
            place.kill()

    def close(self) -> None:
        """Gives back what the places hold; call after `run` has returned."""
        for place in self._places:
            place.close()

    def stand_in(self) -> None:
        """Has workers that are there accept from the listeners of those that are away, whose callers would wait."""
        if not self._begun or len(self._places) == 1:
            return
        there = [place.life for place in self._places if place.life is not None and place.ready]
        away = [place.number for place in self._places if not place.ready]
        for index, life in enumerate(there):
            life.tell({"away": away[index :: len(there)]})

    def _loaded(self, life: WorkerLife) -> None:
        if self._begun:
            self._start(self._let_in(life))
        else:
            self._begin_together()

    def _begin_together(self) -> None:
        lives = [place.life for place in self._places]
        if self._runs and all(one is not None and one.loaded for one in lives):
            self._begun = True
            for one in lives:
                assert one is not None
                self._start(self._let_in(one))

    async def _let_in(self, life: WorkerLife) -> None:
        with contextlib.suppress(Unavailable):
            await self.caught_up(life)
            # Nothing is awaited between the last look and this.
            life.let_in()

    def _told(self, life: WorkerLife, message: Mapping[str, Any]) -> None:
        if "spread" in message:
            self._start(self._spreading.spread(life, message))
        elif "examined" in message:
            self._look(life, message["examined"], message["again"])
        else:
            self.told(life, message)

    def _ended(self, life: WorkerLife) -> None:
        self.gone(life)
        self._look(life, None, False)

    def _look(self, life: WorkerLife, model: str | None, again: bool) -> None:
        """Has the others look at what a worker has found of a model's golden examples, and examine them again; None: it
        has ended, and what it had found with it."""
        for other in self.connected():
            if other is not life:
                other.tell({"look": model, "again": again})

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _at_once(life: WorkerLife) -> None:
    """A worker that is let in as it is."""
