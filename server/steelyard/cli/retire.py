"""`steelyard retire`: a model or a version goes out of service, or its last day is put off."""

import datetime
from pathlib import Path
from typing import Any

import click

from steelyard.cli.asking import admin, reason_option, who
from steelyard.cli.events import moved
from steelyard.cli.lives import DAY, life_of
from steelyard.cli.output import json_option
from steelyard.cli.settings import resolved, settings_options
from steelyard.config import Settings
from steelyard.errors import Conflict
from steelyard.models.names import parse_version

DAY_S = 86_400.0


@click.command(
    epilog="\b\nExample:\n"
    '  steelyard retire prices/2 --replacement 3 --reason "replaced" --data models/.steelyard\n'
    '  steelyard retire prices --replacement costs --grace-s 604800 --reason "merged into costs"\n'
    '  steelyard retire prices --extend 2027-06-30 --key risk.pem --reason "successor is late"'
)
@click.argument("what", metavar="MODEL[/VERSION]")
@click.option(
    "--replacement",
    default="",
    metavar="NAME",
    help="What callers are to ask: a version of the model, or another model; not given: what model.toml names.",
)
@click.option(
    "--grace-s",
    type=click.FloatRange(0, 366 * DAY_S),
    default=DAY_S,
    show_default=True,
    metavar="N",
    help="Seconds for which callers are warned and still answered.",
)
@click.option("--cancel", is_flag=True, help="Take an announced retirement back.")
@click.option("--extend", type=DAY, metavar="DATE", help="Put MODEL's last day off to this one; needs --key.")
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The private key (Ed25519, PEM) that signs an extension.",
)
@reason_option
@settings_options("data", "tlog_key")
@json_option
def retire(
    what: str,
    replacement: str,
    grace_s: float,
    cancel: bool,
    extend: datetime.datetime | None,
    key: Path | None,
    reason: str,
    config_file: Path | None,
    data: Path | None,
    tlog_key: Path | None,
    as_json: bool,
) -> None:
    """Take a model or a version out of service, or put that off.

    Callers are told with each answer until the grace is over; labels move to the replacement at once, where that is a
    version of the same model. Then what was accepted is answered, everybody else is refused with FAILED_PRECONDITION
    and the replacement's name, and events, manifests and a list of the files with its decisions are archived in the
    data directory, a moment later.
    """
    from steelyard.wire.generated import admin as pb

    if (extend is None) != (key is None):
        raise click.UsageError("--extend and --key: expected both or neither")
    if extend is not None and cancel:
        raise click.UsageError("--extend and --cancel: expected at most one of them")
    model, version = _named(what)
    if extend is not None and key is not None:
        if version:
            raise click.UsageError(
                f"--extend: expected MODEL, as its versions have one last day, got {what!r}"
            )
        settings = resolved(config_file, {"data": data, "tlog_key": tlog_key}).settings
        request: Any = _signed(settings, model, extend.date(), reason, key)
        method = "ExtendRetirement"
    elif cancel:
        method, request = (
            "CancelRetirement",
            pb.CancelRetirementRequest(model=model, version=version, who=who(reason)),
        )
    else:
        method = "Retire"
        request = pb.RetireRequest(
            model=model,
            version=version,
            replacement=replacement,
            grace_ms=round(grace_s * 1000),
            who=who(reason),
        )
    with admin(config_file, data) as server:
        moved(server.call(method, request, pb.Event), as_json)


def _named(what: str) -> tuple[str, int]:
    """A model, and a version's number or 0."""
    model, slash, version = what.rpartition("/")
    if not slash:
        return what, 0
    number = parse_version(version)
    if number is None or not model:
        raise click.UsageError(f"expected MODEL or MODEL/VERSION with a version's number, got {what!r}")
    return model, number


def _signed(settings: Settings, model: str, day: datetime.date, reason: str, key: Path) -> Any:
    """The request of an extension, signed here: the key never leaves this process."""
    from steelyard.evidence.extension import Extension, contents_of, sign
    from steelyard.evidence.tlog import log_origin
    from steelyard.wire.generated import admin as pb

    life = life_of(settings.data, model)
    retiring = life.retiring
    if retiring.retire_on is None:
        raise Conflict(f"model {model!r} has no retire_on that could be extended")
    extension = Extension(
        origin=log_origin(settings.data, settings.tlog_key),
        model=model,
        contents=contents_of(life),
        retire_on=day.isoformat(),
        before=retiring.retire_on,
        dated=retiring.dated,
        actor=who(reason).actor,
        reason=reason,
    )
    statement = extension.statement()
    return pb.ExtendRetirementRequest(statement=statement, signature=sign(statement, key))
