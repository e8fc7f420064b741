"""`steelyard canary`: a candidate takes a share, and the gate alone gives it more."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from steelyard.cli.asking import admin, reason_option, who
from steelyard.cli.events import moved
from steelyard.cli.gate_look import print_look
from steelyard.cli.output import json_option, print_json, print_table, short_digest
from steelyard.cli.settings import settings_options
from steelyard.errors import ModelNotFound


@click.group(
    epilog="\b\nExample:\n  steelyard canary start prices --candidate 3 --share 0.05 --steps 0.05,0.25,0.5 "
    '--reason "passed its shadow"\n  steelyard canary status prices --data models/.steelyard'
)
def canary() -> None:
    """Let a candidate answer a share of the requests.

    Of those that name no version: by the key that a caller chooses (parameter steelyard_key or metadata steelyard-key),
    otherwise by decision id. The gate of model.toml moves it from step to step, ends it where it does harm, and
    promotes it only where model.toml says so. Every command of it takes --json.
    """


@canary.command("start")
@click.argument("model")
@click.option("--candidate", required=True, metavar="VERSION", help="A number, a label or a digest.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Where it begins, between 0 and 1; not given: the first step.",
)
@click.option(
    "--steps", metavar="SHARES", help="Rising shares, such as 0.05,0.25,0.5; not given: --share alone."
)
@reason_option
@settings_options("data")
@json_option
def start(
    model: str,
    candidate: str,
    share: float | None,
    steps: str | None,
    reason: str,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Give CANDIDATE a share of MODEL's requests that name no version."""
    from steelyard.wire.generated import admin as pb

    shares = _shares(share, steps)
    with admin(config_file, data) as server:
        request = pb.StartCanaryRequest(model=model, candidate=candidate, shares=shares, who=who(reason))
        moved(server.call("StartCanary", request, pb.Event), as_json)


@canary.command("stop")
@click.argument("model")
@reason_option
@settings_options("data")
@json_option
def stop(model: str, reason: str, config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """End MODEL's canary: every request goes to the default version again."""
    _end("StopCanary", model, reason, config_file, data, as_json)


@canary.command("promote")
@click.argument("model")
@reason_option
@settings_options("data")
@json_option
def promote(model: str, reason: str, config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """Let MODEL's default label stand for its canary, and end it."""
    _end("PromoteCanary", model, reason, config_file, data, as_json)


@canary.command("status")
@click.argument("model")
@settings_options("data")
@json_option
def status(model: str, config_file: Path | None, data: Path | None, as_json: bool) -> int:
    """Show how MODEL's canary does. Ends with 1 where its gate has found harm."""
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        found = server.call("GetTrials", pb.GetTrialsRequest(model=model), pb.Trials)
    canary = json.loads(found.status)["canary"]
    if canary is None:
        raise ModelNotFound(f"model {model!r} has no canary")
    if as_json:
        print_json(canary)
    else:
        _print(canary)
    return 1 if canary["verdict"] == "harmful" else 0


def _end(
    method: str, model: str, reason: str, config_file: Path | None, data: Path | None, as_json: bool
) -> None:
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        request = pb.StopCanaryRequest(model=model, who=who(reason))
        moved(server.call(method, request, pb.Event), as_json)


def _shares(share: float | None, steps: str | None) -> list[float]:
    try:
        shares = [float(part) for part in steps.split(",")] if steps is not None else []
    except ValueError:
        shares = [0.0]
    if not all(low < high for low, high in pairwise([0.0, *shares, 1.0])):
        raise click.UsageError(f"--steps {steps}: expected shares that rise between 0 and 1: 0.05,0.25,0.5")
    if share is None and not shares:
        raise click.UsageError("expected --share, or --steps")
    if share is None or (shares and share == shares[0]):
        return shares
    return [share, *(step for step in shares if step > share)]


def _print(found: Mapping[str, Any]) -> None:
    candidate, primary = found["candidate"], found["primary"]
    steps = ", ".join(f"{share:g}" for share in found["shares"])
    click.echo(
        f"{found['model']}: version {candidate['version']} ({short_digest(candidate['digest'])}) beside version "
        f"{primary['version']} at {found['share']:g} of {steps}: {found['verdict']}"
    )
    arms = [
        [name, f"{counts['requests']:,}", f"{counts['failed']:,}"] for name, counts in found["arms"].items()
    ]
    print_table(["arm", "requests", "failed"], arms, right=["requests", "failed"])
    split = found["split"]
    click.echo(
        f"split: asked {split['asked']:g}, observed {split['observed']:.4f} over {split['units']:,}"
        f"{': a mismatch' if split['mismatch'] else ''}"
    )
    print_look(found["gate"])
