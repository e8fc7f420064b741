"""Keeps what served versions learn of their batches' costs, once in a while and at the end."""

import asyncio
from collections.abc import Callable

from steelyard.scheduling.kept_costs import KeptCosts
from steelyard.serving.catalog import Catalog
from steelyard.serving.costs import Costs
from steelyard.serving.version import ServedVersion

# What a server that is killed loses: a minute's learning, and the next one begins at warm-up's figures for it.
INTERVAL_S = 60.0

# Fewer runs than this since the last time say nothing new.
NEWS_RUNS = 64

Keep = Callable[[tuple[str, ...], KeptCosts], None]


class CostKeeping:
    """Copies costs on the event loop, where they change, and has them written on another thread."""

    def __init__(self, catalog: Catalog, costs: Costs, interval_s: float = INTERVAL_S) -> None:
        self._catalog = catalog
        self._keep: Keep = costs.keep
        self._interval_s = interval_s
        # How many runs had been learned from when a version's costs were kept.
        self._seen: dict[ServedVersion, int] = {}

    async def run(self) -> None:
        """Keeps what is new every `interval_s` seconds, for ever."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.keep()

    async def keep(self, least_runs: int = NEWS_RUNS) -> None:
        """Keeps the costs of versions of which at least so many runs are new; returns when they are written."""
        loop = asyncio.get_running_loop()
        served = [
            known.served for entry in self._catalog for known in entry.versions.values() if known.served
        ]
        self._seen = {version: self._seen.get(version, 0) for version in served}
        for version in served:
            cost = version.lane.cost
            if version.cost_conditions and cost.observed - self._seen[version] >= least_runs:
                self._seen[version] = cost.observed
                await loop.run_in_executor(None, self._keep, version.cost_conditions, cost.kept())
