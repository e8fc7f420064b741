"""A shadow whose process runs, and all that is known of it."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from steelyard.rollout.look import look_to_json
from steelyard.rollout.pairs import PairCounts
from steelyard.rollout.trials import Shadow
from steelyard.supervisor.shadow_process import ShadowProcess
from steelyard.supervisor.shadow_weighing import ShadowWeighing

# What a tap says of this moment, and of that what holds where it holds for one of them; the rest is added up.
NOW = frozenset({"paused", "connected", "waiting_bytes"})
ANY = ("paused", "connected")


class ShadowRun:
    """Keeps a shadow's process running from when it is made until `end`."""

    def __init__(
        self, process: ShadowProcess, weighing: ShadowWeighing, tap: Mapping[str, int] | None = None
    ) -> None:
        """tap: what the tap had counted before the server was started again."""
        self.process = process
        self.weighing = weighing
        self.tap: Counter[str] = Counter(tap or {})
        """What the taps of all workers have counted, over all their lives."""
        self.shadow: Shadow | None = None
        """What the events say of it, when they last said so."""
        self.told = False
        """Whether what the gate decided is being done, or has been."""
        self.checkpoints = 0
        self._taps_before = Counter(self.tap)
        """What taps had counted that are no more."""
        self._taps: dict[str, dict[str, int]] = {}
        """What each worker's tap has counted since it was opened."""
        self._life = asyncio.get_running_loop().create_task(process.run())

    def counted(self, worker: str, counts: Mapping[str, int]) -> None:
        """Takes what a worker's tap has counted since it was opened."""
        if counts["sampled"] < self._taps.get(worker, counts)["sampled"]:
            # A tap that was opened anew.
            self.worker_gone(worker)
        self._taps[worker] = dict(counts)
        self._add_up()

    def worker_gone(self, worker: str) -> None:
        """A worker's tap counts no more."""
        counts = self._taps.pop(worker, None)
        if counts is not None:
            self._taps_before.update({name: count for name, count in counts.items() if name not in NOW})
            self._add_up()

    def _add_up(self) -> None:
        self.tap = Counter({name: count for name, count in self._taps_before.items() if name not in NOW})
        for counts in self._taps.values():
            self.tap.update(counts)
        for name in ANY:
            self.tap[name] = int(any(counts[name] for counts in self._taps.values()))

    @property
    def digests(self) -> list[str]:
        """Of the content by which the candidate has answered, in the order in which they were seen."""
        return list(self.process.checkpoint.get("digests", ()))

    @property
    def key(self) -> str:
        """What its files are called."""
        return self.process.task.rollout

    @property
    def model(self) -> str:
        return self.process.task.model

    async def end(self) -> None:
        """Ends the process at once."""
        self.process.stop()
        await self._life
        self.process.close()

    def outline(self) -> dict[str, Any]:
        """As much as an event says of a shadow's end; costs microseconds."""
        pairs = self.process.checkpoint.get("pairs", {})
        return {
            "digests": self.digests,
            "pairs": pairs.get("pairs", 0),
            "failures": pairs.get("failures", {}),
            "agreement": self.weighing.agreement(),
            "gate": look_to_json(self.weighing.gate.look()),
            "tap": dict(self.tap),
        }

    async def status(self, shadow: Shadow) -> dict[str, Any]:
        """All that is known, as JSON."""
        process, weighing = self.process, self.weighing
        checkpoint = process.checkpoint
        # Counts over many outputs are megabytes, and the loop has rollbacks to make.
        pairs = await asyncio.to_thread(_summary, checkpoint)
        return {
            "number": shadow.number,
            "key": shadow.key,
            "model": shadow.model,
            "name": shadow.name,
            "primary": shadow.primary.to_json(),
            "candidate": dict(shadow.candidate),
            "digests": self.digests,
            "sample": shadow.sample,
            "state": process.state.value,
            "reason": process.reason,
            "exits": dict(process.exits),
            "tap": dict(self.tap),
            "not_compared": checkpoint.get("not_compared", {}),
            "pairs": pairs,
            "agreement": weighing.agreement(),
            "verdict": shadow.verdict or weighing.gate.verdict.value,
            "gate": look_to_json(weighing.gate.look()),
            "max_requests": weighing.gate.manifest.max_requests,
            "promote": weighing.gate.manifest.promote,
            "tolerances": shadow.plan["tolerances"],
        }

    def to_json(self) -> dict[str, Any]:
        """What a server that starts again takes up."""
        return {
            "process": self.process.checkpoint,
            "weighing": self.weighing.to_json(),
            "tap": dict(self.tap),
        }


def _summary(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    if "pairs" not in checkpoint:
        return None
    return PairCounts.from_json(json.dumps(checkpoint["pairs"])).summary()
