"""`steelyard gate`: what a gate does with candidates whose worth is known."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.output import json_option, print_json, print_table
from steelyard.errors import ConfigError

if TYPE_CHECKING:
    from steelyard.models.rollout import GateManifest
    from steelyard.rollout.findings import Finding
    from steelyard.rollout.simulate import Design

# A run takes about 3 ms.
MAX_RUNS = 1_000_000

# So much at a time that handing it to a process costs nothing beside it.
_RUNS_A_TASK = 50


@click.group(epilog="\b\nExample:\n  steelyard gate simulate --margin 0.005 --harm 0.01")
def gate() -> None:
    """Show what a gate promises.

    Every command of it takes --json.
    """


@gate.command(
    "simulate",
    epilog="\b\nExample:\n  steelyard gate simulate classifier --repository models/\n"
    "  steelyard gate simulate --margin 0.005 --harm 0.01 --kind canary --share 0.05 --steps 3",
)
@click.argument("model", required=False)
@click.option(
    "--repository",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="The repository in which MODEL has its model.toml, with its guardrails.",
)
@click.option(
    "--margin", type=float, metavar="SHARE", help="Of a guardrail error_rate, in the place of a model's."
)
@click.option("--harm", type=float, metavar="SHARE", help="Of a guardrail error_rate; not given: the margin.")
@click.option("--alpha", type=float, metavar="CHANCE", help="Not given: the model's, else 0.05.")
@click.option("--max-requests", type=int, metavar="N", help="Not given: the model's, else 100000.")
@click.option(
    "--kind",
    type=click.Choice(["shadow", "canary"]),
    default="shadow",
    show_default=True,
    help="Pairs of answers to one request, or requests of two arms.",
)
@click.option(
    "--share",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="canary: the candidate's part of the requests.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    metavar="N",
    help="canary: how many shares it takes in turn; one of them is simulated, with its part of alpha.",
)
@click.option(
    "--base-rate",
    type=click.FloatRange(0.0, 1.0, max_open=True),
    default=0.005,
    show_default=True,
    metavar="SHARE",
    help="How often the event of a guardrail comes to the version in production.",
)
@click.option(
    "--harm-of",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    default=0.02,
    show_default=True,
    metavar="SHARE",
    help="How much worse the candidate is that has to be found, in the first guardrail.",
)
@click.option(
    "--runs",
    type=click.IntRange(1, MAX_RUNS),
    default=2000,
    show_default=True,
    metavar="N",
    help="Rollouts of each kind.",
)
@click.option(
    "--looks",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    metavar="N",
    help="Requests between two looks, to begin with.",
)
@click.option(
    "--look-growth",
    type=click.FloatRange(0.0, 1.0),
    default=0.02,
    show_default=True,
    metavar="SHARE",
    help="Part of the requests so far after which the next look comes, where that is more; 0: looks stay as close.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, metavar="N", help="Of the draws."
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=2, show_default=True, metavar="N", help="Processes."
)
@json_option
def simulate(
    model: str | None,
    repository: Path | None,
    margin: float | None,
    harm: float | None,
    alpha: float | None,
    max_requests: int | None,
    kind: str,
    share: float,
    steps: int,
    base_rate: float,
    harm_of: float,
    runs: int,
    looks: int,
    look_growth: float,
    seed: int,
    jobs: int,
    as_json: bool,
) -> int:
    """Run many made-up rollouts through the gate, and count its verdicts.

    The candidates are no worse, worse by just the margin or the harm, and worse by --harm-of. Ends with exit code 1
    where false verdicts are more than alpha, for certain. docs/gate.md says what each line means.
    """
    manifest = _manifest(model, repository, margin, harm, alpha, max_requests)
    from steelyard.rollout.simulate import Design

    canary = kind == "canary"
    try:
        design = Design(
            manifest, share if canary else None, steps if canary else 1, base_rate, looks, look_growth
        )
        for guardrail in design.gate().guardrails:
            for worse in (guardrail.harm, harm_of):
                design.rates(guardrail, worse)
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc
    findings = _run(design, harm_of, runs, seed, jobs)
    wrong = [finding for finding in findings if not finding.ok]
    if as_json:
        print_json(
            {
                "ok": not wrong,
                "kind": kind,
                "share": design.share,
                "steps": design.steps,
                "base_rate": base_rate,
                "seed": seed,
                "gate": manifest.model_dump(mode="json"),
                "left_out": list(design.gate().left_out),
                "findings": [_as_json(finding) for finding in findings],
            }
        )
    else:
        _print(design, findings)
    return 1 if wrong else 0


def _manifest(
    model: str | None,
    repository: Path | None,
    margin: float | None,
    harm: float | None,
    alpha: float | None,
    max_requests: int | None,
) -> "GateManifest":
    """What the model's manifest says, but for what is given. Raises UsageError, ConfigError and ManifestError."""
    if (model is None) != (repository is None):
        raise click.UsageError("MODEL and --repository go together")
    if (model is None) == (margin is None):
        raise click.UsageError("expected guardrails: MODEL with --repository, or --margin")
    if harm is not None and margin is None:
        raise click.UsageError("--harm goes with --margin")
    from pydantic import ValidationError

    from steelyard.models.manifest import read_model_manifest
    from steelyard.models.repository import scan
    from steelyard.models.rollout import GateManifest, Guardrail
    from steelyard.toml import describe_problems

    given: dict[str, Any] = {"alpha": alpha, "max_requests": max_requests}
    changed = {key: value for key, value in given.items() if value is not None}
    if model is not None and repository is not None:
        directory = scan(repository).models.get(model)
        if directory is None:
            raise ConfigError(f"{repository}: expected a model {model!r}, found none with a version")
        manifest = read_model_manifest(directory.manifest_path).rollout.gate
        if not manifest.guardrail:
            raise ConfigError(f"{directory.manifest_path}: expected a [[rollout.gate.guardrail]], found none")
        changed = {**dict(manifest), **changed}
    try:
        if margin is not None:
            limits = {"margin": margin, "harm": margin if harm is None else harm}
            changed["guardrail"] = (Guardrail.model_validate({"on": "error_rate", **limits}),)
        return GateManifest.model_validate(changed)
    except ValidationError as exc:
        raise ConfigError("; ".join(describe_problems(exc, GateManifest))) from exc


def _run(design: "Design", harm_of: float, runs: int, seed: int, jobs: int) -> list["Finding"]:
    from steelyard.rollout.findings import finding
    from steelyard.rollout.simulate import run_some, scenarios

    shown = scenarios(design, harm_of)
    firsts = range(0, runs, _RUNS_A_TASK)
    # Neither a fork, which would copy the threads' locks, nor more processes than there is work for.
    with ProcessPoolExecutor(min(jobs, len(firsts)), mp_context=get_context("spawn")) as pool:
        tasks = [
            [
                pool.submit(run_some, design, scenario, seed, index, first, min(_RUNS_A_TASK, runs - first))
                for first in firsts
            ]
            for index, scenario in enumerate(shown)
        ]
        return [
            finding(design, scenario, [outcome for task in parts for outcome in task.result()])
            for scenario, parts in zip(shown, tasks, strict=True)
        ]


def _as_json(finding: "Finding") -> dict[str, Any]:
    return {
        **asdict(finding),
        "share": finding.share,
        "ok": finding.ok,
        "ratio": finding.ratio,
        "ratio_90": finding.ratio_90,
    }


def _print(design: "Design", findings: Sequence["Finding"]) -> None:
    from steelyard.rollout.findings import CONFIDENCE

    rows = []
    for found in findings:
        promised = "" if found.at_most is None else f"{found.at_most:.3g}{'' if found.ok else ' BROKEN'}"
        rows.append(
            (
                found.scenario,
                f"{found.count} of {found.runs}",
                f"{found.low:.4f} to {found.high:.4f}",
                promised,
                _number(found.median),
                f"{_number(found.fixed)}{_times(found.ratio)}",
                _number(found.p90),
                f"{_number(found.fixed_90)}{_times(found.ratio_90)}",
            )
        )
    columns = (
        "candidate, verdict",
        "runs",
        f"{CONFIDENCE:.0%} interval",
        "at most",
        "median",
        "fixed",
        "90 % by",
        "fixed 90 %",
    )
    print_table(columns, rows, right=columns[1:])
    unit = "pairs" if design.share is None else "requests of both arms"
    click.echo(
        f"median, 90 % by: {unit} until the verdict; fixed: those of a test looked at once, of the same error "
        "and power (×: ours over it)"
    )
    if left_out := design.gate().left_out:
        click.echo(f"left out, as a canary has no pairs: {', '.join(left_out)}")


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f" (×{ratio:.2f})"
