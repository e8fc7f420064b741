"""What the demonstration found, as people read it."""

import shlex
import sys
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from steelyard.demo.figures import Figures
from steelyard.demo.repository import INPUT, MODEL
from steelyard.demo.run import Outcome
from steelyard.demo.stages import StageHistogram, VersionAccount
from steelyard.demo.traffic import CLIENTS, IN_FLIGHT_A_CLIENT, Pass
from steelyard.demo.trial_report import trial_shown

SHOWN_TYPES = 15
SHOWN_DIFFERENCES = 8
TYPE_BAR_CELLS = 24
# Columns that are aligned on the right.
NUMBERS = frozenset(("files", "requests", "a second", "rows a batch", "mean ms", "p50 ms", "p99 ms"))
LEVELS = " ▁▂▃▄▅▆▇█"


def print_outcome(outcome: Outcome, directory: Path) -> None:
    """Prints the figures, and where the server is kept, what can be done with it."""
    console = Console(highlight=False)
    figures = outcome.figures
    console.print()
    console.print(_types(figures))
    console.print(_passes(figures))
    console.print(_stages(figures.packaged, figures.packaged_account))
    console.print(_verdict(figures))
    console.print()
    console.print(trial_shown(outcome.trial))
    if outcome.kept:
        # Not through rich, which would break the command at the terminal's width.
        print(f"\nThe server is still up. Ask it about {outcome.sample}:\n")
        print(f"  {ask_command(directory, outcome.sample)}\n")
        print(f"gRPC {outcome.server.grpc_address}, metrics http://{outcome.server.http_address}/metrics")
        print(f"Stop it: kill {outcome.server.pid}")


def ask_command(directory: Path, file: str) -> str:
    """A command that asks the running server about `file`."""
    program = Path(sys.executable).with_name("steelyard")
    steelyard = [str(program)] if program.exists() else [sys.executable, "-m", "steelyard.cli.main"]
    steelyard[0] = _shortest(Path(steelyard[0]))
    data = _shortest(directory / "data")
    return shlex.join(
        [*steelyard, "infer", MODEL, "--data", data, "--input", f"{INPUT}=@{file}", "--classes", "3"]
    )


def _shortest(path: Path) -> str:
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def _types(figures: Figures) -> RenderableType:
    types = figures.types()
    table = _table("type", "files", "")
    most = types[0][1]
    for label, count in types[:SHOWN_TYPES]:
        bar = "█" * max(1, round(count / most * TYPE_BAR_CELLS))
        table.add_row(label, str(count), Text(bar, style="cyan"))
    rest = types[SHOWN_TYPES:]
    if rest:
        table.add_row(f"{len(rest)} others", str(sum(count for _, count in rest)), "")
    return _titled(f"{len(figures.packaged.labels)} files of {len(types)} types", table)


def _passes(figures: Figures) -> RenderableType:
    table = _table("version", "requests", "a second", "p50 ms", "p99 ms", "rows a batch")
    for name, asked, account in (
        ("1, as packaged", figures.packaged, figures.packaged_account),
        ("2, eight bits", figures.quantized, figures.quantized_account),
    ):
        table.add_row(
            name,
            str(len(asked.labels)),
            f"{asked.requests_per_s:.0f}",
            f"{asked.latency_ms(50):.1f}",
            f"{asked.latency_ms(99):.1f}",
            f"{account.mean_batch_rows:.2f}",
        )
    verdicts = [
        Text(f"Version {asked.version}, rows checked before batching: {asked.batching}\n", style="dim")
        for asked in (figures.packaged, figures.quantized)
    ]
    title = f"As {CLIENTS} clients saw it, each with {IN_FLIGHT_A_CLIENT} requests in flight"
    return Group(_titled(title, table), *verdicts)


def _stages(asked: Pass, account: VersionAccount) -> RenderableType:
    shown = _shown_buckets(account)
    bounds = account.stages[0].bounds_s
    axis = f"{_duration(bounds[shown.start])} … {_duration(bounds[shown.stop - 1])}"
    table = _table("stage", "mean ms", "p50 ms", "p99 ms", axis)
    for stage in account.stages:
        table.add_row(
            stage.stage,
            f"{stage.mean_ms:.3f}",
            f"{stage.percentile_ms(50):.3f}",
            f"{stage.percentile_ms(99):.3f}",
            Text(_bars(stage, shown), style="cyan"),
        )
    return _titled(
        f"Where version {asked.version}'s requests spent their time, as the server counted it", table
    )


def _shown_buckets(account: VersionAccount) -> range:
    filled = [index for stage in account.stages for index, count in enumerate(stage.counts()) if count]
    return range(min(filled), max(filled) + 1)


def _bars(stage: StageHistogram, shown: range) -> str:
    """One bar for each bucket, two cells wide: a bucket with anything in it has one that can be seen."""
    counts = stage.counts()
    most = max(counts) or 1
    top = len(LEVELS) - 1
    return "".join(LEVELS[-(-counts[index] * top // most)] * 2 for index in shown)


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _verdict(figures: Figures) -> RenderableType:
    magika, packaged = figures.against_magika, figures.against_packaged
    lines = [
        Text.assemble(
            ("✓ " if figures.right else "✗ ", "green" if figures.right else "bold red"),
            f"{magika.equal} of {magika.files} answers of version 1 equal what the magika package says of the same "
            "file.",
        )
    ]
    if figures.near_ties:
        lines.append(
            Text(
                f"  {figures.near_ties} of them are near ties, where the package says the same in a batch only."
            )
        )
    lines += [
        Text(f"  {difference.path}: expected {difference.expected}, came {difference.came}")
        for difference in magika.differences[:SHOWN_DIFFERENCES]
    ]
    share = packaged.equal / packaged.files
    lines.append(
        Text(
            f"  {packaged.equal} of {packaged.files} answers of version 2 equal version 1's ({share:.1%}): what "
            "eight bits cost here."
        )
    )
    if figures.too_small:
        lines.append(Text(f"  Left out, being too small to ask the model about: {figures.too_small}."))
    return Panel(Group(*lines), box=box.ROUNDED, expand=False)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in NUMBERS else "left", no_wrap=True)
    return table


def _titled(title: str, table: Table) -> RenderableType:
    return Group(Text(title, style="bold"), table)
