"""ModelStatistics reads the slots that it was asked for, and names versions as the caller does."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steelyard._native.observe import Segment
from steelyard.observe.layout import OTHER_SLOT, SLOTS
from steelyard.observe.segment import SegmentReader, SlotCounts
from steelyard.observe.segment_file import create_segment
from steelyard.serving.catalog import Catalog
from steelyard.serving.control import SERVICE, Control
from steelyard.serving.lifecycle import Lifecycle
from steelyard.serving.loader import Loader
from steelyard.serving.loading import Environment
from steelyard.serving.methods import Methods
from steelyard.serving.verdicts import Verdicts
from steelyard.wire.generated import grpc_service as pb
from tests.runtime import models


class NotingReader(SegmentReader):
    """A reader that notes which slots were copied."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.copied: list[int] = []

    def _slot(self, index: int, entry: Any) -> SlotCounts:
        self.copied.append(index)
        return super()._slot(index, entry)


class Call:
    peer = "a"
    deadline_ns = 0


class Served:
    """The RPCs over a repository of two models, and the segment that they read."""

    def __init__(self, root: Path, fd: int) -> None:
        models.scaled(root / "first" / "1")
        models.scaled(root / "second" / "3")
        self.segment = Segment(fd, os.getpid(), 1)
        self.catalog = Catalog()
        self.loader = Loader(root, self.catalog, self.segment, Environment(1, "dev", Verdicts(None)), 1)
        self.reader = NotingReader(fd)
        methods = Methods()
        Control(self.catalog, self.loader, Lifecycle(), self.reader).register(methods)
        self._ask = methods.unary[SERVICE + "ModelStatistics"]

    async def ask(self, name: str = "", version: str = "") -> dict[tuple[str, str], int]:
        """How many requests of each version were counted as failed."""
        body = pb.ModelStatisticsRequest(name=name, version=version).SerializeToString()
        answer = pb.ModelStatisticsResponse.FromString(await self._ask(body, Call()))
        return {(found.name, found.version): found.inference_stats.fail.count for found in answer.model_stats}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    fd = create_segment("test")
    found = Served(tmp_path, fd)
    yield found
    found.loader.close()
    os.close(fd)


async def test_only_the_slots_asked_for_are_copied(served: Served) -> None:
    await served.loader.load_all()
    slots = {name: served.catalog.route(name, "").slot for name in ("first", "second")}
    slots["second"].failed()
    assert await served.ask("second") == {("second", "3"): 1}
    assert served.reader.copied == [slots["second"].index]
    assert await served.ask() == {("first", "1"): 0, ("second", "3"): 1}


async def test_versions_without_a_slot_of_their_own_keep_their_names(served: Served) -> None:
    for n in range(SLOTS):
        served.segment.slot(f"m{n}", "1")
    await served.loader.load_all()
    served.catalog.route("first", "").slot.failed()
    assert served.catalog.route("second", "").slot.index == OTHER_SLOT
    assert await served.ask("second", "3") == {("second", "3"): 1}
    assert await served.ask() == {("first", "1"): 1, ("second", "3"): 1}
