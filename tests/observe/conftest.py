"""Segments in memory, and the two implementations that write them."""

import os
from collections.abc import Callable, Iterator

import pytest

from steelyard._native import observe as native
from steelyard.observe import plain
from steelyard.observe.segment_file import create_segment


@pytest.fixture(params=[native, plain], ids=["native", "plain"])
def writer(request):
    """The module under test: its Segment, Slot and Ticket."""
    return request.param


@pytest.fixture
def make_fd() -> Iterator[Callable[[], int]]:
    """Makes segments and closes their descriptors afterwards."""
    fds: list[int] = []

    def make() -> int:
        fds.append(create_segment("test"))
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)
