"""A benchmark: how it is measured in full and as a quick look, how it is told of, and what is drawn of it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
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
class Measurement:
    """The functions of a benchmark."""

    run: Callable[..., Any]
    """Takes the figures that are quoted; what it gives can be written as JSON."""
    report: Callable[[Any], list[str]]
    """The figures as a table, line by line."""
    charts: Callable[[Any], list[Chart]]

    def takes(self, parameter: str) -> bool:
        """Whether `run` has a parameter of that name."""
        return parameter in inspect.signature(self.run).parameters


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One entry of the table of benchmarks."""

    name: str
    title: str
    group: Group
    module: str
    """Of `benchmarks`, with `report` and perhaps `charts`."""
    function: str = "run"
    """The module's function that measures."""
    quick: Mapping[str, Any] = field(default_factory=dict)
    """What that takes for a short form, whose figures show no more than that it runs."""

    def measurement(self) -> Measurement:
        """Imports the module. Raises ModuleNotFoundError where a package is lacking that it compares with."""
        module = import_module(f"benchmarks.{self.module}")
        return Measurement(
            getattr(module, self.function), module.report, getattr(module, "charts", no_charts)
        )
