"""The shadows of every model, put on the versions whose answers they are held against, beside these' capture."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steelyard.observe.logs import log
from steelyard.rollout.directive import Tap
from steelyard.serving.catalog import Catalog
from steelyard.serving.shadowing import ShadowTap


class Taps:
    """Opens and closes taps as directives say; lives on the event loop.

    A tap is of one version with one content: where that is not served, it waits and gets nothing.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._open: dict[str, dict[int, tuple[Tap, ShadowTap]]] = {}
        self.not_opened = 0
        """Taps that could not be opened, and are tried again by the next directive for their model."""
        catalog.watch(self._attach)

    def direct(self, model: str, wanted: Sequence[Tap]) -> None:
        """Makes the model's taps those that are wanted; what is not wanted gets nothing from when this returns."""
        known = self._open.pop(model, {})
        kept = {
            tap.number: known.pop(tap.number) for tap in wanted if known.get(tap.number, (None,))[0] == tap
        }
        for _, tap in known.values():
            tap.close()
        for one in wanted:
            if one.number not in kept and (opened := self._opened(model, one)) is not None:
                kept[one.number] = one, opened
        if kept:
            self._open[model] = kept
        self._attach(model)

    def _opened(self, model: str, one: Tap) -> ShadowTap | None:
        try:
            return ShadowTap(f"{model}-{one.number}", Path(one.socket), one.sample, one.max_bytes)
        except (OSError, RuntimeError) as error:
            # No descriptor or no thread is left: what the worker does for callers goes before.
            self.not_opened += 1
            log(
                "shadow.not_opened",
                level=logging.ERROR,
                model=model,
                shadow=one.number,
                times=self.not_opened,
                exception=repr(error),
            )
            return None

    def counts(self) -> list[dict[str, Any]]:
        """What every tap has counted since it was opened."""
        return [
            {"model": model, "number": number, "counts": tap.counts()}
            for model, taps in self._open.items()
            for number, (_, tap) in taps.items()
        ]

    def close(self) -> None:
        """Ends every tap at once."""
        for model in list(self._open):
            self.direct(model, ())

    def _attach(self, model: str) -> None:
        for version in self._catalog.served(model).values():
            capture = () if version.capture is None or version.capture.is_closed else (version.capture,)
            version.shadows = capture + tuple(
                tap
                for one, tap in self._open.get(model, {}).values()
                if not tap.is_closed
                and (one.primary.number, one.primary.digest) == (version.number, version.digest)
            )
