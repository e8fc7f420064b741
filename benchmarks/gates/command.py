"""`python -m benchmarks gates`: measures every gate, and ends with 1 where one has fallen below its threshold."""

import time
from pathlib import Path

import click

from benchmarks.gates import thresholds
from benchmarks.gates.gate import Gate
from benchmarks.gates.judging import Verdict
from benchmarks.gates.rooms import ROOMS
from benchmarks.gates.served import SERVED

GATES = (*ROOMS, *SERVED)


def judged(gate: Gate, least: float) -> Verdict:
    """The verdict on the gate's rounds; where that is a failure, on as many fresh ones.

    So a failure was seen twice, and a disturbance has to last through both and meet one side alone.
    """
    verdict = Verdict(tuple(gate.measure()), least)
    return verdict if verdict.passed else Verdict(tuple(gate.measure()), least)


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--thresholds",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=thresholds.FILE,
    help="TOML with [GATE] least, measured, on.",
)
def gates(names: tuple[str, ...], file: Path) -> None:
    """Measures the gates NAME, or all, as ratios in one run, and holds them against their thresholds.

    A gate fails where its rounds show that the ratio is below the threshold: where the upper bound of its median is.
    """
    try:
        known = thresholds.read(file)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    wanted = [gate for gate in GATES if not names or gate.name in names]
    if unknown := {*names} - {gate.name for gate in GATES}:
        raise click.UsageError(
            f"expected {', '.join(gate.name for gate in GATES)}, came {', '.join(unknown)}"
        )
    if missing := [gate.name for gate in wanted if gate.name not in known]:
        raise click.ClickException(f"{file} has no threshold for {', '.join(missing)}")
    click.echo(f"{'':54}{'median':>8}{'at most':>9}{'least':>8}{'rounds':>18}{'':8}s")
    failed = 0
    for gate in wanted:
        began = time.monotonic()
        verdict = judged(gate, known[gate.name].least)
        spread = f"{min(verdict.ratios):.2f}–{max(verdict.ratios):.2f}"
        click.echo(
            f"{gate.title:54}{verdict.median:8.2f}{verdict.highest:9.2f}{verdict.least:8.2f}{spread:>18}"
            f"  {'passed' if verdict.passed else 'FAILED'}{time.monotonic() - began:6.1f}"
        )
        if not verdict.passed:
            failed += 1
            threshold = known[gate.name]
            click.echo(f"  {gate.name}: measured {threshold.measured} on {threshold.on}", err=True)
    if failed:
        raise SystemExit(1)
