"""What came of version 2 as a shadow, as people read it."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from steelyard.demo.repository import AS_PACKAGED, QUANTIZED
from steelyard.demo.trial import Trial

SHOWN_WORST = 6
MEANING = {
    "safe": "by no guardrail is it worse by its margin or more. That alone promotes nothing, since model.toml leaves "
    f"promote at manual: version {AS_PACKAGED} stays in production until somebody moves the label.",
    "harmful": "by one guardrail at least it is worse than the owner bears. The shadow was ended, and version "
    f"{AS_PACKAGED} stays in production.",
    "exhausted": "max_requests were compared without a verdict. The shadow was ended, and nothing is promoted.",
    "undecided": "these were too few files to tell. That is no promotion; more traffic may decide.",
}


def trial_shown(trial: Trial) -> RenderableType:
    """Everything about the trial, the verdict last."""
    seen = trial.seen
    parts: list[RenderableType] = [
        Text(f"Version {QUANTIZED} as shadow of version {AS_PACKAGED}", style="bold")
    ]
    parts.append(Text(_counted(trial)))
    if seen["pairs"] is not None:
        parts += [_errors(trial), _latency(seen["pairs"]["latency"])]
    if trial.worst:
        parts.append(_worst(trial))
    parts += [_guardrails(seen["gate"]), _verdict(trial)]
    return Group(*parts)


def _counted(trial: Trial) -> str:
    seen, pairs = trial.seen, trial.seen["pairs"]
    lines = [
        f"{trial.asked} files asked about in {trial.seconds:.1f} s, and nobody was told the shadow's answers."
    ]
    if pairs is not None:
        agreement, failures = seen["agreement"], pairs["failures"]
        lines += [
            f"{agreement['share']:.1%} of {pairs['pairs']} pairs name the same type ({agreement['least']:.1%} to "
            f"{agreement['most']:.1%}, 95 % however often one looks).",
            f"Failures: {failures['primary_only']} of version {AS_PACKAGED} only, {failures['candidate_only']} of "
            f"version {QUANTIZED} only, {failures['both']} of both.",
        ]
    return "\n".join(lines)


def _errors(trial: Trial) -> RenderableType:
    table = _table("largest error of a file's scores", "p50", "p99", "most", "tolerance")
    for name, output in trial.seen["pairs"]["outputs"].items():
        tolerance = trial.seen["tolerances"].get(name)
        table.add_row(
            f"output {name}",
            *(f"{output['absolute'][key]:.4f}" for key in ("p50", "p99", "max")),
            "" if tolerance is None else f"{tolerance[0]:.4f}",
        )
    return table


def _latency(latency: list[Mapping[str, Any]]) -> RenderableType:
    table = _table("rows", "runs", "version 1, p50 ms", "p99 ms", "version 2, p50 ms", "p99 ms ")
    for one in latency:
        if one["primary"] and one["candidate"]:
            figures = [one[side][key] for side in ("primary", "candidate") for key in ("p50_ms", "p99_ms")]
            table.add_row(
                str(one["rows"]), str(one["candidate"]["count"]), *(f"{figure:.1f}" for figure in figures)
            )
    return table


def _worst(trial: Trial) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("told differently, the surest first", overflow="fold")
    table.add_column("version 1 says", no_wrap=True)
    table.add_column("version 2 says", no_wrap=True)
    for one in trial.worst[:SHOWN_WORST]:
        table.add_row(Text(one.path), Text(one.primary), Text(one.candidate))
    return table


def _guardrails(look: Mapping[str, Any]) -> RenderableType:
    table = _table("guardrail", "pairs", "worse by", "at least", "at most", "margin", "harm")
    for guardrail in look["guardrails"]:
        table.add_row(
            guardrail["name"],
            str(guardrail["n"]),
            *(f"{guardrail[key]:.2%}" for key in ("mean", "lower", "upper", "margin", "harm")),
        )
    return table


def _verdict(trial: Trial) -> RenderableType:
    look, drill = trial.seen["gate"], trial.drill
    by = f" by {look['decided_by']}" if look["decided_by"] else ""
    style = {"safe": "bold green", "harmful": "bold red"}.get(trial.verdict, "bold yellow")
    return Panel(
        Group(
            Text.assemble(
                f"Version {QUANTIZED} is ",
                (trial.verdict, style),
                f"{by} after {look['n']} pairs: {MEANING[trial.verdict]}",
            ),
            Text(
                f"Rollback drill of {drill['label']}, {drill['outcome']}: to version {drill['to']['version']} in "
                f"{drill['away_ms']:.1f} ms and back in {drill['back_ms']:.1f} ms; meanwhile it answered "
                f"{drill['answered']} and failed {drill['failed']}."
            ),
        ),
        box=box.ROUNDED,
        expand=False,
    )


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    return table
