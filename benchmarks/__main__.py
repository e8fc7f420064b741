"""Runs benchmarks: `python -m benchmarks [NAME ...] [--quick]`, `python -m benchmarks gates`."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.benchmark import Benchmark, Measurement
from benchmarks.table import chosen

OUT = Path(".bench")
INSTALLED_BY = "`make bench` installs all of it, or pip install '.[bench,examples]'"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="A short form of each, whose figures show that it runs.")
@click.option(
    "--rounds", type=click.IntRange(min=1), help="Rounds, in the place of each benchmark's own number."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that one measurement of a round takes, in the place of each benchmark's own.",
)
@click.option("--list", "listed", is_flag=True, help="Name the benchmarks and run none.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True)
def measure(
    names: tuple[str, ...],
    quick: bool,
    rounds: int | None,
    seconds: float | None,
    listed: bool,
    out: Path,
) -> None:
    """Runs the benchmarks NAME, or those of the groups NAME, or all; prints tables, and writes JSON and pictures.

    `python -m benchmarks gates` is a command of its own: ratios that are held against thresholds.
    """
    try:
        benchmarks = chosen(names)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if listed:
        _list(benchmarks)
        return
    found_lacking: dict[str, list[str]] = {}
    measurements: list[tuple[Benchmark, Measurement]] = []
    for benchmark in benchmarks:
        try:
            measurements.append((benchmark, benchmark.measurement()))
        except ModuleNotFoundError as error:
            found_lacking.setdefault(str(error.name), []).append(benchmark.name)
    given = {name: value for name, value in (("rounds", rounds), ("seconds", seconds)) if value is not None}
    _refuse(given, measurements, quick)
    # What draws is imported before anything is measured: a benchmark of minutes must not end by lacking it.
    try:
        from benchmarks.host import host
        from benchmarks.results import keep
    except ModuleNotFoundError as error:
        found_lacking.setdefault(str(error.name), []).append("every picture")
    if found_lacking:
        needed = "; ".join(f"{package} ({', '.join(needing)})" for package, needing in found_lacking.items())
        raise click.ClickException(f"not installed, and needed: {needed}: {INSTALLED_BY}")
    taken_on = host()
    click.echo(", ".join(f"{key} {value}" for key, value in taken_on.items()))
    for benchmark, measurement in measurements:
        click.echo(f"\n{benchmark.name}: {benchmark.title}")
        found = measurement.run(**(benchmark.quick if quick else given))
        click.echo("\n".join(measurement.report(found)))
        written = keep(out, benchmark, quick, given, taken_on, found, measurement.charts(found))
        click.echo(f"({', '.join(map(str, written))})")


def _list(benchmarks: Sequence[Benchmark]) -> None:
    """Names the benchmarks, and what each lacks first of what it compares with."""
    lacking = False
    for benchmark in benchmarks:
        line = f"{benchmark.name:12} {benchmark.group:8} {benchmark.title}"
        try:
            benchmark.measurement()
        except ModuleNotFoundError as error:
            lacking = True
            line += f" (needs {error.name}, which is not installed)"
        click.echo(line)
    if lacking:
        click.echo(f"What benchmarks compare with and draw by: {INSTALLED_BY}", err=True)


def _refuse(
    given: Mapping[str, Any], measurements: Sequence[tuple[Benchmark, Measurement]], quick: bool
) -> None:
    """Raises click.UsageError for --rounds and --seconds where they are not for every benchmark that is to run."""
    options = " and ".join(f"--{name}" for name in given)
    if given and quick:
        raise click.UsageError(f"--quick has figures of its own for {options}: give one or the other")
    for name in given:
        without = [benchmark.name for benchmark, measurement in measurements if not measurement.takes(name)]
        if without:
            raise click.UsageError(
                f"expected benchmarks that take --{name}; these do not: {', '.join(without)}"
            )


def main() -> None:
    """Chooses the command."""
    # What the engine, run in this process, says of models that nobody owns.
    logging.disable(logging.WARNING)
    if sys.argv[1:2] == ["gates"]:
        from benchmarks.gates.command import gates

        gates(sys.argv[2:], prog_name="python -m benchmarks gates")
    else:
        measure(prog_name="python -m benchmarks")


if __name__ == "__main__":
    main()
