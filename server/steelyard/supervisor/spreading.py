"""Loads and unloads by request, which any worker may be asked for, and all of them have to do."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from steelyard import errors
from steelyard.errors import ExecutionFailed, SteelyardError, Unavailable
from steelyard.models.names import name_problem
from steelyard.observe.logs import log
from steelyard.supervisor.channel import Channel
from steelyard.supervisor.life import WorkerLife

if TYPE_CHECKING:
    from steelyard.serving.loader import Loader


class SpreadRepository:
    """The worker's side: asks the supervisor to have every worker load or unload a model."""

    def __init__(self, channel: Channel, loader: "Loader") -> None:
        self._channel = channel
        self._loader = loader
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._last = 0

    async def load(self, name: str) -> None:
        """Returns when every worker serves the model. Raises what kept one of them from it."""
        # A name that can be no model's may be of any length, and has no business on the line.
        await (self._loader.load(name) if name_problem(name) else self._spread("load", name))

    async def unload(self, name: str) -> None:
        """Returns when no worker serves the model any more. Raises ModelNotFound."""
        await (self._loader.unload(name) if name_problem(name) else self._spread("unload", name))

    async def _spread(self, what: str, name: str) -> None:
        self._last += 1
        number = self._last
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._channel.send({"spread": number, "what": what, "model": name})
        try:
            await answer
        finally:
            del self._asked[number]

    def answered(self, message: Mapping[str, Any]) -> None:
        """Takes what the supervisor says came of it."""
        answer = self._asked.get(message["spread"])
        if answer is None or answer.done():
            return
        if message["error"] is None:
            answer.set_result(None)
        else:
            answer.set_exception(getattr(errors, message["kind"])(message["error"]))


class Spreading:
    """The supervisor's side: gives an order to every worker, and the first one's refusal, or none, to who asked.

    Orders about one model are carried out one after the other, so that all workers end where the last one says.
    """

    def __init__(self, workers: Callable[[], Sequence[WorkerLife]]) -> None:
        self._workers = workers
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: defaultdict[str, int] = defaultdict(int)

    async def spread(self, asking: WorkerLife, message: Mapping[str, Any]) -> None:
        """Carries out what a worker was asked for, and tells it what came of it."""
        model = message["model"]
        self._waiting[model] += 1
        try:
            async with self._locks[model]:
                refusal = await self._order({message["what"]: model})
        finally:
            self._waiting[model] -= 1
            if not self._waiting[model]:
                del self._waiting[model], self._locks[model]
        asking.tell(
            {
                "spread": message["spread"],
                "error": None if refusal is None else str(refusal),
                "kind": type(refusal).__name__,
            }
        )

    async def _order(self, order: Mapping[str, Any]) -> SteelyardError | None:
        lives = list(self._workers())
        answers = await asyncio.gather(*(life.ask(order) for life in lives), return_exceptions=True)
        refusal: SteelyardError | None = None
        for life, answer in zip(lives, answers, strict=True):
            # One that was not let in yet, or has ended, answers nobody by what it has now.
            if not isinstance(answer, BaseException) or not (life.is_in or len(lives) == 1):
                continue
            if not isinstance(answer, SteelyardError):
                log("order.fault", level=logging.ERROR, worker=life.number, exception=repr(answer)[:2000])
                answer = ExecutionFailed("the server failed on this order")
            refusal = refusal or answer
        return refusal if lives else Unavailable("no worker is running")
