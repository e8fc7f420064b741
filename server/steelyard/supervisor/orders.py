"""What the supervisor asks of a worker, carried out on the worker's side."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from pydantic import TypeAdapter

from steelyard.errors import ExecutionFailed, SteelyardError
from steelyard.models.spec import ModelSpec
from steelyard.observe.logs import log
from steelyard.rollout.directive import Directive
from steelyard.serving.canary import Canaries
from steelyard.serving.capturing import Captures
from steelyard.serving.loader import Followed, Loader
from steelyard.serving.taps import Taps
from steelyard.supervisor.channel import Channel

# Short enough that harm is seen at once, and a message a canary or a tap is nothing.
COUNTS_TOLD_S = 0.2


class Orders:
    """Carries orders out and answers each, by the number that it came with.

    A directive is in force when `obey` returns: requests that are read later are routed by it.
    """

    def __init__(
        self, loader: Loader, canaries: Canaries, taps: Taps, captures: Captures, channel: Channel
    ) -> None:
        self._loader = loader
        self._canaries = canaries
        self._taps = taps
        self._captures = captures
        self._channel = channel
        self._told_payloads: dict[str, dict[str, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, directives: list[Mapping[str, Any]]) -> None:
        """Puts in force what the supervisor knew when the worker was started."""
        for fields in directives:
            self._direct(Directive.from_json(fields))

    def obey(self, message: Mapping[str, Any]) -> None:
        """Carries out one order."""
        number = message["order"]
        if "direct" in message:
            self._direct(Directive.from_json(message["direct"]))
            self._channel.send({"done": number})
        elif "load" in message:
            self._start(self._carry_out(number, message["load"], self._load(message["load"])))
        elif "unload" in message:
            self._start(self._carry_out(number, message["unload"], self._unload(message["unload"])))
        elif "write_payloads" in message:
            self._start(self._carry_out(number, "", self._write_payloads()))
        else:
            model = message["model"]
            self._start(self._carry_out(number, model, self._make_ready(model, message["ready"])))

    async def carried_out(self) -> None:
        """Returns when nothing that was ordered is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def tell_followed(self, moves: list[Followed]) -> None:
        """Tells the supervisor where default labels that nobody has set stand now."""
        self._channel.send(
            {
                "followed": [
                    {
                        "model": move.model,
                        "from": None if move.before is None else move.before.to_json(),
                        "to": move.now.to_json(),
                    }
                    for move in moves
                ]
            }
        )

    async def tell_counts(self) -> None:
        """Tells the supervisor what canaries, taps and captures count, for ever."""
        while True:
            await asyncio.sleep(COUNTS_TOLD_S)
            self.tell_counts_now()

    def tell_counts_now(self) -> None:
        """Tells what was counted since the last time."""
        if arms := self._canaries.take():
            self._channel.send({"arms": arms})
        if taps := self._taps.counts():
            self._channel.send({"taps": taps})
        payloads = self._captures.counts()
        if payloads != self._told_payloads:
            self._told_payloads = payloads
            self._channel.send({"payloads": payloads})

    def _direct(self, directive: Directive) -> None:
        if self._loader.label(directive):
            self._start(self._loader.settle(directive.model))
        self._canaries.direct(directive.model, directive.split)
        self._taps.direct(directive.model, directive.taps)

    async def _carry_out(self, number: int, model: str, work: Coroutine[Any, Any, Mapping[str, Any]]) -> None:
        try:
            found = await work
        except SteelyardError as error:
            self._channel.send({"done": number, "error": str(error), "kind": type(error).__name__})
        except Exception as error:
            # The supervisor waits for an answer, whatever becomes of the order.
            log("order.fault", level=logging.ERROR, model=model, exception=repr(error))
            failure = ExecutionFailed(f"model {model!r}: the server failed on this order")
            self._channel.send({"done": number, "error": str(failure), "kind": type(failure).__name__})
        else:
            self._channel.send({**found, "done": number})

    async def _make_ready(self, model: str, version: str) -> Mapping[str, Any]:
        served = await self._loader.make_ready(model, version)
        return {
            "version": served.number,
            "digest": served.digest,
            "path": str(served.path),
            "offered": TypeAdapter(ModelSpec).dump_python(served.offered, mode="json"),
            "failing": served.failing,
        }

    async def _load(self, model: str) -> Mapping[str, Any]:
        await self._loader.load(model)
        return {}

    async def _unload(self, model: str) -> Mapping[str, Any]:
        await self._loader.unload(model)
        return {}

    async def _write_payloads(self) -> Mapping[str, Any]:
        await self._captures.written()
        return {}

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
