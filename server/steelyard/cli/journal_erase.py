"""`steelyard journal erase`: captured requests and answers, and feedback, gone for good."""

import contextlib
from pathlib import Path

import click

from steelyard.cli.asking import admin, reason_option, who
from steelyard.cli.output import json_option, print_json
from steelyard.cli.settings import resolved, settings_options
from steelyard.errors import EvidenceError


@click.command(
    epilog="\b\nExample:\n  steelyard journal erase --decision 0197... --reason 'asked for by whom it concerns'\n"
    "  steelyard journal erase --key customer-17 --reason 'contract ended'"
)
@click.option(
    "--decision", metavar="ID", help="A decision's, or that of its request, which may be several's."
)
@click.option("--key", metavar="KEY", help="All requests that carried this key (parameter steelyard_key).")
@reason_option
@settings_options("data")
@json_option
def erase(
    decision: str | None,
    key: str | None,
    reason: str,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Erase captured requests and answers, the salts of their digests, and feedback.

    What is recorded of the decisions stays, and so do the proofs of it: nothing in them says what was asked. That they
    were erased, by whom and why, is recorded as well. On a server that runs or has been stopped.
    """
    if (not decision) == (not key):
        raise click.UsageError("expected either --decision or --key")
    from steelyard.supervisor.datadir import find_server

    where = resolved(config_file, {"data": data}).settings.data
    if find_server(where) is not None:
        from steelyard.wire.admin import EVIDENCE_SERVICE
        from steelyard.wire.generated import evidence as pb

        request = pb.EraseRequest(decision=decision, key=key, who=who(reason))
        with admin(config_file, data) as server:
            answer = server.call("Erase", request, pb.EraseResponse, service=EVIDENCE_SERVICE)
        decisions = list(answer.decisions)
    else:
        decisions = _stopped(where, decision, key, reason)
    if as_json:
        print_json({"erased": decisions})
    else:
        click.echo(f"what was kept of {len(decisions)} decisions is erased")


def _stopped(where: Path, decision: str | None, key: str | None, reason: str) -> list[str]:
    """Erases where no server runs, which none may begin to meanwhile."""
    import asyncio

    from steelyard.clock import SystemClock
    from steelyard.evidence.log import EventLog
    from steelyard.supervisor.datadir import DataDirectory
    from steelyard.supervisor.erasure import Asked, carried_out

    if not where.is_dir():
        raise EvidenceError(f"data {where}: not there")
    asked = Asked("decision" if decision else "key", decision or key or "", who(reason).actor, reason)
    with (
        contextlib.closing(DataDirectory(where)),
        contextlib.closing(EventLog(where, SystemClock())) as log,
    ):
        erasure, _ = asyncio.run(carried_out(log.append, where, asked))
    return erasure.ids
