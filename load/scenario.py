"""A scenario as its TOML file has it: when requests come, what they are, and how they are sent."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from load.arrivals import MAX_REQUESTS, Phase, Replay
from steelyard.errors import ConfigError
from steelyard.models.table import Table, Text
from steelyard.toml import describe_problems, did_you_mean, read_toml

BAD_KINDS = ("unparsable", "unknown_model", "unknown_input", "wrong_shape", "wrong_datatype")

# A list that somebody wrote, or the lengths of a whole corpus.
MAX_CHOICES = 1_000_000
MAX_SIZE = 1 << 30

_RANGE = re.compile(r"([0-9]{1,10})\.\.([0-9]{1,10})", re.ASCII)


def _choices(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if isinstance(value, str):
        match = _RANGE.fullmatch(value.strip())
        if match is None:
            raise ValueError("expected a number, a list of numbers, or a range such as '8..128'")
        if not 0 <= int(match[2]) - int(match[1]) < MAX_CHOICES:
            raise ValueError(f"expected a range from less to more, of at most {MAX_CHOICES} numbers")
        return tuple(range(int(match[1]), int(match[2]) + 1))
    return tuple(value) if isinstance(value, list) else value


Choices = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MAX_SIZE)], ...],
    BeforeValidator(_choices),
    Field(min_length=1, max_length=MAX_CHOICES),
]
"""Whole numbers, one of which is drawn for each body: 8, [8, 16, 64] or "8..128"."""
AnyPath = Annotated[Path, Field(strict=False)]


class Values(Table):
    """`[request.inputs.NAME]`: what an input is filled with."""

    low: float | None = Field(default=None, allow_inf_nan=False, description="The least value.")
    high: float | None = Field(default=None, allow_inf_nan=False, description="Values are less than this.")
    bytes: Choices | None = Field(default=None, description="Length of each element of a BYTES input.")
    file: AnyPath | None = Field(
        default=None, description="A .npy file; its entries along the first axis are drawn."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.file is not None and (self.low, self.high, self.bytes) != (None, None, None):
            raise ValueError("expected file alone, or low, high and bytes, got both")
        if (self.low is None) != (self.high is None):
            raise ValueError("expected both low and high, or neither, got one")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"expected low < high, got {self.low} and {self.high}")
        return self


class Request(Table):
    """`[[request]]`: one kind of request."""

    name: Text = Field(description="What the report calls it.")
    model: Text = Field(description="The model that is asked.")
    version: str = Field(default="", max_length=128, description="The version; empty: the server's choice.")
    share: float = Field(
        default=1.0, gt=0, le=1e9, allow_inf_nan=False, description="Its part among all kinds."
    )
    rows: Choices = Field(default=(1,), description="Size of the first open dimension.")
    lengths: Choices | None = Field(default=None, description="Size of every further open dimension.")
    lengths_file: AnyPath | None = Field(
        default=None, description="The same, one number a line; drawn as often as they are there."
    )
    deadline_ms: float | None = Field(
        default=None,
        gt=0,
        le=86_400_000,
        allow_inf_nan=False,
        description="Told to the server, and counted from when the request is due.",
    )
    priority: int = Field(
        default=0, ge=0, le=1_000_000, description="1 is the most urgent; 0: the server's own."
    )
    bad_share: float = Field(default=0.0, ge=0, le=1, description="Part that is sent bad.")
    bad: tuple[Literal[BAD_KINDS], ...] = Field(  # type: ignore[valid-type]
        default=BAD_KINDS, min_length=1, strict=False, description="In which ways; drawn evenly."
    )
    bodies: int = Field(default=32, ge=1, le=10_000, description="Different requests that are made and sent.")
    body: AnyPath | None = Field(
        default=None, description="A file with the one request to send, a serialized ModelInferRequest."
    )
    inputs: dict[str, Values] = Field(default={}, max_length=1000, description="What inputs are filled with.")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.lengths is not None and self.lengths_file is not None:
            raise ValueError("lengths: expected this or lengths_file, got both")
        if self.body is not None and (self.inputs or self.lengths or self.lengths_file):
            raise ValueError("body: expected this alone, or inputs and lengths, got both")
        return self


class Scenario(Table):
    """A load from begin to end."""

    name: Text = Field(description="What the report is headed with.")
    seed: int = Field(default=5, ge=0, le=1 << 62, description="The same seed is the same load.")
    processes: int = Field(default=1, ge=1, le=64, description="Processes that send.")
    connections: int = Field(default=4, ge=1, le=1024, description="Connections of each process.")
    max_in_flight: int = Field(
        default=20_000,
        ge=1,
        le=1_000_000,
        description="Requests that may be without an answer; a further one is not sent, and counts as UNSENT.",
    )
    timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="When a request without a deadline is given up, counted from when it is due.",
    )
    warm_up: int = Field(
        default=50, ge=0, le=1_000_000, description="Requests of each process before the load, not measured."
    )
    scrape_interval_s: float = Field(
        default=1.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="Seconds between two readings of the server's metrics.",
    )
    phase: tuple[Phase, ...] = Field(
        max_length=1000, strict=False, description="What comes one after the other; at least one."
    )
    request: tuple[Request, ...] = Field(
        max_length=1000, strict=False, description="Kinds of requests; at least one."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for key in ("phase", "request"):
            if not getattr(self, key):
                raise ValueError(f"{key}: expected at least one, got none")
        names = [request.name for request in self.request]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"request: expected a name of its own for each, got {twice!r} twice")
        expected = sum(phase.expected() for phase in self.phase)
        if expected > MAX_REQUESTS:
            raise ValueError(f"phase: expected at most {MAX_REQUESTS} requests in all, got {expected:.0f}")
        return self


def read_scenario(path: Path) -> Scenario:
    """The scenario at `path`; relative files in it are relative to its directory. Raises ConfigError."""
    try:
        document = read_toml(path, ConfigError)
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a scenario, but nothing is there") from None
    try:
        scenario = Scenario.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(describe_problems(error, Scenario))}") from None
    return _placed(scenario, path.parent)


def request_named(scenario: Scenario, name: str) -> int:
    """The place of a kind of request. Raises ConfigError for a name that none has."""
    names = [request.name for request in scenario.request]
    if name not in names:
        raise ConfigError(f"unknown request {name[:80]!r}{did_you_mean(name, names)}")
    return names.index(name)


def _placed(scenario: Scenario, directory: Path) -> Scenario:
    phases = [
        phase.model_copy(update={"file": directory / phase.file}) if isinstance(phase, Replay) else phase
        for phase in scenario.phase
    ]
    requests = []
    for request in scenario.request:
        placed = {
            key: directory / path
            for key in ("body", "lengths_file")
            if (path := getattr(request, key)) is not None
        }
        inputs = {
            name: values.model_copy(update={"file": directory / values.file}) if values.file else values
            for name, values in request.inputs.items()
        }
        requests.append(request.model_copy(update={**placed, "inputs": inputs}))
    return scenario.model_copy(update={"phase": tuple(phases), "request": tuple(requests)})
