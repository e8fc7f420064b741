"""What a load is in the terminal, once it is over."""

from typing import Any

import click

from load.report import number
from steelyard.cli.output import print_table


def print_result(result: dict[str, Any]) -> None:
    """Prints latency by kind of request, how requests ended, and whether the figures are the server's."""
    columns = ("requests", "due", "answered/s", "p50 ms", "p90", "p99", "p99.9", "max")
    rows = [
        (
            name,
            f"{part['requests']:,}",
            number(part["answered_per_s"]),
            *(number(part["latency_ms"][key]) for key in ("p50", "p90", "p99", "p99.9", "max")),
        )
        for name, part in [("all", result["all"]), *result["by_request"].items()]
    ]
    print_table(columns, rows, right=columns[1:])
    codes = ", ".join(f"{count:,} {code}" for code, count in result["all"]["codes"].items())
    click.echo(f"ended: {codes}")
    bad, harness, server = result["bad"], result["harness"], result["server"]
    if bad["requests"]:
        click.echo(
            f"sent bad: {bad['requests']:,}, of which {bad['accepted']:,} were answered as if they were not"
        )
    if server is not None:
        outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in server["outcomes"].items())
        click.echo(f"the server counts {server['received']:,} received: {outcomes}")
        stages = ", ".join(f"{stage} {number(part['p99_ms'])}" for stage, part in server["stages"].items())
        click.echo(f"its stages, p99 in ms: {stages}")
    shares = ", ".join(f"{share:.0%}" for share in harness["cpu_share"])
    click.echo(
        f"the load itself: {harness['verdict']} "
        f"(left late by {number(harness['lateness_ms']['p99'])} ms at p99; {shares} of a processor)"
    )


def print_capacity(found: dict[str, Any]) -> None:
    """Prints every rate that was tried, and the highest that was kept up."""
    columns = (
        "rate/s",
        "answered/s",
        "left late, p50 ms",
        "p99",
        "latency, p50 ms",
        "its p99",
        "CPU µs",
        "kept up",
    )
    rows = [
        (
            f"{one['rate']:,.0f}",
            f"{one['answered_per_s']:,.0f}",
            *(number(one["lateness_ms"][key]) for key in ("p50", "p99")),
            *(number(one["latency_ms"][key]) for key in ("p50", "p99")),
            number(one["cpu_us"]),
            "yes" if one["kept_up"] else "no",
        )
        for one in found["tried"]
    ]
    print_table(columns, rows, right=columns[:-1])
    most = found["kept_up_per_s"]
    click.echo(
        f"{found['processes']} process(es), {found['connections']} connections each: "
        + (f"{most:,.0f} requests/s are kept up" if most else "no rate that was tried was kept up")
        + f", {found['answered_per_s']:,.0f}/s are answered at most; {number(found['cpu_us'])} µs of CPU a request"
    )


def print_mlperf(found: dict[str, Any]) -> None:
    """Prints LoadGen's verdict and figures."""
    click.echo(f"LoadGen, {found['scenario']}: {'VALID' if found['valid'] else 'INVALID'}")
    for name, value in found["summary"].items():
        click.echo(f"  {name}: {value}")
    click.echo(f"{found['samples']:,} samples, {found['failed']:,} failed; logs: {found['logs']}")
