"""`steelyard approve`: a version may be used."""

from pathlib import Path

import click

from steelyard.cli.asking import admin, reason_option, who
from steelyard.cli.events import moved
from steelyard.cli.output import json_option
from steelyard.cli.settings import settings_options


@click.command(epilog='\b\nExample:\n  steelyard approve prices/3 --reason "validation report 2026-14"')
@click.argument("version", metavar="MODEL/VERSION")
@reason_option
@settings_options("data")
@json_option
def approve(version: str, reason: str, config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """Say that a version may be used.

    VERSION is a number, a label, or sha256: and 12 digits or more. It is recorded for the content that the version has
    now; other content under the same number is not approved.
    """
    from steelyard.wire.generated import admin as pb

    model, slash, which = version.rpartition("/")
    if not slash or not model or not which:
        raise click.UsageError(f"expected MODEL/VERSION, got {version!r}")
    with admin(config_file, data) as server:
        request = pb.ApproveRequest(model=model, version=which, who=who(reason))
        moved(server.call("Approve", request, pb.Event), as_json)
