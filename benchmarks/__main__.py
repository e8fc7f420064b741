"""Runs benchmarks: `python -m benchmarks [NAME ...] [--quick]`, `python -m benchmarks gates`."""

import logging
import sys
from pathlib import Path

import click

OUT = Path(".bench")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="A short form of each, whose figures show that it runs.")
@click.option("--list", "listed", is_flag=True, help="Name the benchmarks and run none.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True)
def measure(names: tuple[str, ...], quick: bool, listed: bool, out: Path) -> None:
    """Runs the benchmarks NAME, or those of the groups NAME, or all; prints tables, and writes JSON and pictures.

    `python -m benchmarks gates` is a command of its own: ratios that are held against thresholds.
    """
    # What the benchmarks compare with is imported with them, seconds of it, and the gates need little of that.
    try:
        from benchmarks.host import host
        from benchmarks.results import keep
        from benchmarks.table import chosen
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is not installed, which the benchmarks compare with or draw by: "
            "`make bench` installs all of it, or pip install '.[bench,examples]'"
        ) from None

    try:
        benchmarks = chosen(names)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if listed:
        for benchmark in benchmarks:
            click.echo(f"{benchmark.name:12} {benchmark.group:8} {benchmark.title}")
        return
    taken_on = host()
    click.echo(", ".join(f"{key} {value}" for key, value in taken_on.items()))
    for benchmark in benchmarks:
        click.echo(f"\n{benchmark.name}: {benchmark.title}")
        found = benchmark.quick() if quick else benchmark.run()
        click.echo("\n".join(benchmark.report(found)))
        written = keep(out, benchmark, quick, taken_on, found)
        click.echo(f"({', '.join(map(str, written))})")


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
