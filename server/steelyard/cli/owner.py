"""`steelyard owner`: who answers for a model."""

from pathlib import Path

import click

from steelyard.cli.asking import admin, who
from steelyard.cli.events import moved
from steelyard.cli.lives import life_of
from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import resolved, settings_options

# In the order in which people ask for them.
SHOWN = (
    "owner",
    "backup_owner",
    "tier",
    "purpose",
    "developed_by",
    "validated_by",
    "last_validation",
    "next_validation",
    "retirement_runbook",
    "replacement",
)


@click.command(
    epilog="\b\nExample:\n  steelyard owner prices --data models/.steelyard\n"
    '  steelyard owner prices --set "Pricing, pricing@example.org" --reason "reorganisation" --data models/.steelyard'
)
@click.argument("model")
@click.option("--set", "owner_", metavar="TEXT", help="Who answers from now on.")
@click.option("--set-backup", metavar="TEXT", help="Who answers when the owner cannot.")
@click.option("--reason", metavar="TEXT", help="Why; needed to set one.")
@settings_options("data")
@json_option
def owner(
    model: str,
    owner_: str | None,
    set_backup: str | None,
    reason: str | None,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Show and set who answers for a model.

    It is shown for a server that runs or has been stopped, and set on one that runs. What is set here holds until
    model.toml names somebody else than it does now.
    """
    if owner_ or set_backup:
        from steelyard.wire.generated import admin as pb

        if reason is None:
            raise click.UsageError("--reason: expected with --set and --set-backup")
        with admin(config_file, data) as server:
            request = pb.SetOwnerRequest(
                model=model, owner=owner_ or "", backup_owner=set_backup or "", who=who(reason)
            )
            moved(server.call("SetOwner", request, pb.Event), as_json)
        return
    life = life_of(resolved(config_file, {"data": data}).settings.data, model)
    found = {key: life.governance.get(key) for key in SHOWN} | {"retire_on": life.retiring.retire_on}
    if as_json:
        print_json({"model": model, **found})
        return
    print_table(["what", "is"], [[key, str(value)] for key, value in found.items() if value is not None])
    if found["owner"] is None:
        click.echo(
            f"{model}: nobody answers for it; name an owner in [governance] of model.toml, or with --set"
        )
