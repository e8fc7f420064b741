"""A shadow's status as commands show it."""

from collections.abc import Mapping
from typing import Any

import click

from steelyard.cli.events import when
from steelyard.cli.gate_look import print_look
from steelyard.cli.output import print_table, short_digest
from steelyard.observe.logs import printable

# Batch sizes that are shown: those with the most runs.
SIZES_SHOWN = 8


def print_shadow(found: Mapping[str, Any]) -> None:
    """Prints what a shadow has seen, what it has not, and what that means."""
    state = found["state"] + (f" ({found['reason']})" if found["reason"] else "")
    version = "" if "address" in found["candidate"] else "version "
    digests = ", ".join(map(short_digest, found["digests"]))
    primary = found["primary"]
    click.echo(
        printable(
            f"{found['model']}: {version}{found['name']}{f' ({digests})' if digests else ''} beside version "
            f"{primary['version']} ({short_digest(primary['digest'])}), sample {found['sample']:g}, {state}: "
            f"{found['verdict']}"
        )
    )
    _print_handed_over(found)
    pairs = found["pairs"]
    if pairs is None:
        return
    agreement = found["agreement"]
    if pairs["pairs"]:
        click.echo(
            f"agreement: {100 * agreement['share']:.2f} % of {pairs['pairs']:,} pairs "
            f"({100 * agreement['least']:.2f} to {100 * agreement['most']:.2f} %, 95 % however often one looks)"
        )
    else:
        click.echo("agreement: no pair yet")
    broken = {name: count for name, count in pairs["broken"].items() if count}
    if broken:
        click.echo(printable("broken: " + ", ".join(f"{name} {count:,}" for name, count in broken.items())))
    failures = pairs["failures"]
    click.echo(
        f"errors: {failures['primary_only']:,} of the primary only, {failures['candidate_only']:,} of the "
        f"candidate only, {failures['both']:,} of both"
    )
    for kind, count in failures["candidate_kinds"].items():
        click.echo(printable(f"  candidate: {count:,} times {kind}"))
    _print_errors(pairs["outputs"])
    _print_latency(pairs["latency"])
    print_look(found["gate"])


def print_ended(last: Mapping[str, Any]) -> None:
    """Prints how a shadow ended, and what it had seen."""
    click.echo(
        printable(
            f"no shadow runs; the last one ended {when(last['unix_ms'])}, {last['outcome']}: {last['reason']}"
        )
    )
    if last["seen"] is not None:
        print_shadow({**last["seen"], "state": "ended", "reason": ""})


def _print_handed_over(found: Mapping[str, Any]) -> None:
    tap = found["tap"]
    dropped = {
        name.removeprefix("dropped_"): tap[name] for name in tap if name.startswith("dropped_") and tap[name]
    }
    said = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    click.echo(
        f"sampled {tap.get('sampled', 0):,}, handed over {tap.get('acknowledged', 0):,}"
        f"{f', dropped: {said}' if said else ''}; paused {tap.get('pauses', 0):,} times, "
        f"{tap.get('paused_ns', 0) / 1e9:.1f} s"
    )
    if found["exits"]:
        click.echo("process: " + ", ".join(f"{how} {count} times" for how, count in found["exits"].items()))
    for reason, count in found["not_compared"].items():
        click.echo(f"not compared: {count:,} {reason}")


def _print_errors(outputs: Mapping[str, Any]) -> None:
    if not outputs:
        return
    rows = [
        [
            name,
            *(f"{output['absolute'][key]:.3g}" for key in ("p50", "p99", "max")),
            f"{output['relative']['p99']:.3g}",
            "" if output["distance"] is None else f"{output['distance']:.4f}",
        ]
        for name, output in outputs.items()
    ]
    columns = ["output", "error p50", "p99", "max", "relative p99", "distance"]
    print_table(columns, rows, right=columns[1:])


def _print_latency(latency: list[Mapping[str, Any]]) -> None:
    both = [one for one in latency if one["primary"] and one["candidate"]]
    shown = sorted(both, key=lambda one: -one["candidate"]["count"])[:SIZES_SHOWN]
    rows = [
        [
            str(one["rows"]),
            f"{one['candidate']['count']:,}",
            *(f"{one[side][key]:.3f}" for side in ("primary", "candidate") for key in ("p50_ms", "p99_ms")),
        ]
        for one in sorted(shown, key=lambda one: one["rows"])
    ]
    if rows:
        columns = ["rows", "runs", "primary p50 ms", "p99 ms", "candidate p50 ms", "p99 ms "]
        print_table(columns, rows, right=columns)
