"""`steelyard models`: what a server serves and how much, or what a stopped one would."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from steelyard.cli.output import json_option, print_json, print_table, short_digest
from steelyard.cli.server import Reached, Way, named_server, running_server, server_options
from steelyard.cli.settings import resolved, settings_options
from steelyard.config import Resolved
from steelyard.errors import ConfigError, ModelNotFound, SteelyardError, Unavailable
from steelyard.observe.logs import printable

TIMEOUT_S = 30.0
# Models that are named where one note is about many.
NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One version. What only a running server knows is None where none is asked."""

    name: str
    version: int | None
    state: str
    """A running server's READY, LOADING or UNAVAILABLE; on disk STOPPED, or UNAVAILABLE where it is wrong."""
    reason: str
    digest: str = ""
    batching: str = ""
    """Whether requests are put together, and why."""
    requests: int | None = None
    failures: int | None = None
    rows: int | None = None
    mean_batch_rows: float | None = None
    mean_ms: float | None = None
    cost: dict[str, Any] | None = None
    """What batches were learned to cost: see docs/batching.md."""


@click.command(
    epilog="\b\nExample:\n  steelyard models --data models/.steelyard\n"
    "  steelyard models --address 127.0.0.1:8001 --json\n  steelyard models --repository models/"
)
@click.option(
    "--repository",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where a stopped server's models are; not given: the settings', else what holds the data directory.",
)
@click.option("--cost", is_flag=True, help="Show what a running server has learned of what batches cost.")
@settings_options("data")
@server_options()
@json_option
def models(
    repository: Path | None,
    cost: bool,
    config_file: Path | None,
    data: Path | None,
    way: Way,
    as_json: bool,
) -> None:
    """Show the models of a server, running or stopped.

    A running server is found by its data directory and asked for states, counts and times; the times are means
    since it started. Of a stopped one, the repository is listed as it lies on disk.
    """
    found = resolved(config_file, {"repository": repository, "data": data})
    asked = running_server(found.settings, way) if way.address is None else named_server(way.address, way)
    rows = list(_from_server(asked)) if asked is not None else list(_from_disk(repository_of(found)))
    if as_json:
        print_json(
            {"server": asked.address if asked is not None else None, "models": [asdict(row) for row in rows]}
        )
        return
    click.echo(f"Server at {asked.address}" if asked is not None else "No server is running; on disk:")
    if cost:
        _print_costs(rows)
    else:
        _print(rows, counted=asked is not None)


def _from_server(server: Reached) -> Iterator[Row]:
    from steelyard.client import Client

    with Client(server.address, timeout_s=TIMEOUT_S, tls=server.tls) as client:
        states = client.index()
        counted = {(found.name, found.version): found for found in client.statistics()}
        for state in states:
            row: dict[str, Any] = {}
            if state.state == "READY":
                try:
                    properties = client.metadata(state.name, state.version).properties
                except (ModelNotFound, Unavailable):
                    # Unloaded since the index was made.
                    properties = {}
                row |= {
                    "digest": properties.get("digest", ""),
                    "batching": properties.get("batching_reason", ""),
                    "cost": _cost(properties.get("batch_cost")),
                }
            if (count := counted.get((state.name, state.version))) is not None:
                row |= {
                    "requests": count.requests,
                    "failures": count.failures,
                    "rows": count.rows,
                    "mean_batch_rows": count.mean_batch_rows,
                    "mean_ms": count.mean_ms,
                }
            yield Row(
                state.name, int(state.version) if state.version else None, state.state, state.reason, **row
            )


def repository_of(found: Resolved) -> Path:
    """Where the stopped server's models are: data directories lie in their repository unless told otherwise."""
    settings = found.settings
    if found.origins["repository"] != "default" or found.origins["data"] == "default":
        return settings.repository
    if settings.data.name == ".steelyard":
        return settings.data.parent
    raise ConfigError(
        f"no server is running with the data directory {settings.data}: "
        "name its repository with --repository to see it as it lies on disk"
    )


def _from_disk(repository: Path) -> Iterator[Row]:
    from steelyard.models.digest import version_digest
    from steelyard.models.manifest import read_model_manifest
    from steelyard.models.repository import scan
    from steelyard.models.versions import wanted

    listing = scan(repository)
    for model in listing.models.values():
        try:
            serving = read_model_manifest(model.manifest_path).serving
        except SteelyardError as error:
            yield Row(model.name, None, "UNAVAILABLE", str(error))
            continue
        numbers = wanted(serving.versions, [version.number for version in model.versions])
        for version in model.versions:
            reason = "" if version.number in numbers else "not wanted by the version policy"
            try:
                digest = version_digest(version.path)
            except SteelyardError as error:
                yield Row(model.name, version.number, "UNAVAILABLE", str(error))
            else:
                batching = str(serving.batching).lower()
                yield Row(model.name, version.number, "STOPPED", reason, digest, batching)
    for problem in listing.problems:
        inside = problem.path.parent.name in listing.models
        name = problem.path.parent.name if inside else problem.path.name
        number = int(problem.path.name) if inside and problem.path.name.isdecimal() else None
        yield Row(name, number, "UNAVAILABLE", problem.message)


def _print(rows: list[Row], counted: bool) -> None:
    """Without the columns of counts and times where none were asked for."""
    counts = ["answered", "failed", "rows", "batch", "ms"] if counted else []
    cells = []
    notes: dict[str, list[str]] = {}
    for row in rows:
        version = "" if row.version is None else str(row.version)
        line = [row.name, version, row.state, short_digest(row.digest)]
        if counted:
            line += [_number(row.requests), _number(row.failures), _number(row.rows)]
            line += [_number(row.mean_batch_rows, 1), _number(row.mean_ms, 2)]
        cells.append(line)
        if note := row.reason or (row.batching and f"batching: {row.batching}"):
            notes.setdefault(note, []).append(f"{row.name} {version}".rstrip())
    print_table(["model", "version", "state", "digest", *counts], cells, right=("version", *counts))
    # Below the table, as they are as long as a terminal is wide and most models have the same.
    for note, whose in notes.items():
        more = f" and {len(whose) - NAMES_SHOWN} more" if len(whose) > NAMES_SHOWN else ""
        click.echo(printable(f"{', '.join(whose[:NAMES_SHOWN])}{more}: {note}"))


def _cost(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _print_costs(rows: list[Row]) -> None:
    """A line for each size of each shape."""
    cells = []
    for row in rows:
        for shape in (row.cost or {}).get("shapes", ()):
            where = [row.name, str(row.version or ""), "x".join(map(str, shape["shape"]))]
            for size, us in shape["us"].items():
                waiting = int(size)
                alone = [_number(us), _number(us / waiting, 1), _at(shape["first"], waiting)]
                beside_us = _number(shape.get("beside_us", {}).get(size))
                cells.append([*where, size, *alone, beside_us, _at(shape.get("beside_first", ()), waiting)])
    counts = ("rows", "us", "us a row", "run first", "us beside others", "run first then")
    print_table(["model", "version", "shape", *counts], cells, right=("version", *counts))


def _at(first: Sequence[int], waiting: int) -> str:
    return _number(first[waiting - 1]) if waiting <= len(first) else ""


def _number(value: float | None, decimals: int = 0) -> str:
    return "" if value is None else f"{value:,.{decimals}f}"
