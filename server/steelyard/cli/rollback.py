"""`steelyard rollback`: back to the version that a label stood for before."""

from pathlib import Path

import click

from steelyard.cli.asking import admin, reason_option, who
from steelyard.cli.events import document, moved
from steelyard.cli.output import json_option
from steelyard.cli.settings import settings_options
from steelyard.rollout.labels import PASSED


@click.command(
    epilog='\b\nExample:\n  steelyard rollback prices --reason "complaints since ten" --data models/.steelyard\n'
    '  steelyard rollback prices --drill --reason "quarterly drill" --data models/.steelyard'
)
@click.argument("model")
@click.option("--label", default="", metavar="LABEL", help="The label; not given: the model's default label.")
@click.option("--drill", is_flag=True, help="Go there, stay for a moment, and come back.")
@click.option(
    "--stay-ms",
    type=click.IntRange(1, 60_000),
    default=1000,
    show_default=True,
    help="How long a drill stays.",
)
@reason_option
@settings_options("data")
@json_option
def rollback(
    model: str,
    label: str,
    drill: bool,
    stay_ms: int,
    reason: str,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Go back to the version that a label stood for before.

    MODEL's default label does, or the one that --label names. That version is still warm for keep_warm_s of
    model.toml. Every request that begins after this command has returned is answered by it, and none fails. A second
    rollback goes one version further back.
    """
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        request = pb.RollbackRequest(
            model=model, label=label, who=who(reason), drill=drill, stay_ms=stay_ms if drill else 0
        )
        event = server.call("Rollback", request, pb.Event)
    moved(event, as_json)
    return 1 if drill and document(event)["details"]["outcome"] != PASSED else 0
