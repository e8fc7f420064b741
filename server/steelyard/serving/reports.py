"""What is loaded, told whenever it is something else than was told last."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steelyard.serving.catalog import Catalog
from steelyard.serving.entries import VersionEntry, VersionState
from steelyard.serving.loader import GONE

Report = Mapping[str, Any]

# In an event, beside what it is about.
MAX_PROBLEM_CHARS = 1000


class Reports:
    """Watches a catalog. `told` gets versions that were loaded, could not be, or were unloaded, together with others of
    the same pass of the event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, catalog: Catalog, told: Callable[[Sequence[Report]], None]
    ) -> None:
        self._loop = loop
        self._catalog = catalog
        self._told = told
        self._changed: dict[str, None] = {}
        # By model and number: the content that is served and what kept other content from being it.
        self._known: dict[tuple[str, int], tuple[str, str]] = {}
        catalog.watch(self._note)

    def _note(self, model: str) -> None:
        if not self._changed:
            self._loop.call_soon(self._tell)
        self._changed[model] = None

    def _tell(self) -> None:
        changed, self._changed = self._changed, {}
        found = [report for model in changed for report in self._reports(model)]
        if found:
            self._told(found)

    def _reports(self, model: str) -> list[Report]:
        versions = self._catalog.model(model).versions if model in self._catalog else {}
        found = []
        for number, known in sorted(versions.items()):
            now = _standing(known)
            if known.state is not VersionState.LOADING and now != self._known.get((model, number)):
                self._known[model, number] = now
                found.append(_report(model, known))
        gone = [key for key in self._known if key[0] == model and key[1] not in versions]
        reason = "it is no longer in the repository"
        return found + [
            {"model": model, "version": key[1], "unloaded": reason} for key in gone if self._known.pop(key)[0]
        ]


def _standing(known: VersionEntry) -> tuple[str, str]:
    return "" if known.served is None else known.served.digest, _problem(known)


def _problem(known: VersionEntry) -> str:
    """Why its files, as they are now, could not be loaded."""
    tried = known.state in (VersionState.FAILED, VersionState.READY) and known.reason != GONE
    return known.reason[:MAX_PROBLEM_CHARS] if tried else ""


def _report(model: str, known: VersionEntry) -> Report:
    found: dict[str, Any] = {"model": model, "version": known.number}
    served = known.served
    if served is not None:
        found["loaded"] = {
            "digest": served.digest,
            "lineage": served.version_manifest.lineage.model_dump(exclude_none=True),
            "golden_passed": served.golden_passed,
            "golden_failing": sorted(served.failing)[:10],
            "device": served.device,
            "batching": served.batching.allowed,
        }
    elif known.state is VersionState.UNLOADED:
        found["unloaded"] = known.reason
    if problem := _problem(known):
        found["problem"] = problem
    return found
