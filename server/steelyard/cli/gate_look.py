"""A look of the gate as commands show it."""

from collections.abc import Mapping
from typing import Any

import click

from steelyard.cli.output import print_table


def print_look(look: Mapping[str, Any]) -> None:
    """Prints each guardrail's bounds, and what they mean."""
    if not look["guardrails"]:
        click.echo("gate: no guardrail in [rollout.gate] of model.toml, so no verdict")
        return
    rows = [
        [
            guardrail["name"],
            f"{guardrail['n']:,}",
            *(_percent(guardrail[key]) for key in ("mean", "lower", "upper", "margin", "harm")),
            _state(guardrail),
        ]
        for guardrail in look["guardrails"]
    ]
    columns = ["guardrail", "requests", "worse by", "at least", "at most", "margin", "harm"]
    print_table([*columns, ""], rows, right=columns[1:])
    by = f", by {look['decided_by']}" if look["decided_by"] else ""
    click.echo(f"gate: {look['verdict']}{by}")


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _state(guardrail: Mapping[str, Any]) -> str:
    if guardrail["lower"] > guardrail["harm"]:
        return "harmful"
    return "within" if guardrail["upper"] < guardrail["margin"] else "open"
