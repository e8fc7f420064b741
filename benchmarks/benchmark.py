"""A benchmark: how it is measured in full and as a quick look, how it is told of, and what is drawn of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Group(StrEnum):
    """What a benchmark is about; a group's name on the command line means all of its benchmarks."""

    MICRO = "micro"
    """One room at a time, in one process, without a socket."""
    SERVED = "served"
    """A real server, asked over the wire."""
    LIFE = "life"
    """What a server goes through: many models, rollbacks, swaps, shadows, days."""
    PEERS = "peers"
    """Other servers, with the same model and the same client."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars to be drawn: for each name the figure of every round, of which the bar shows median, least and greatest."""

    title: str
    unit: str
    bars: dict[str, list[float]]


def no_charts(found: Any) -> list[Chart]:
    """For benchmarks whose figures are no rounds."""
    return []


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One entry of the table of benchmarks."""

    name: str
    title: str
    group: Group
    run: Callable[[], Any]
    """Takes the figures that are quoted; what it gives can be written as JSON."""
    quick: Callable[[], Any]
    """The same in a short form, whose figures show no more than that it runs."""
    report: Callable[[Any], list[str]]
    """The figures of either as a table, line by line."""
    charts: Callable[[Any], list[Chart]] = no_charts
