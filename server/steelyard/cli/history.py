"""`steelyard history`: what happened to a model, by whom and why."""

from pathlib import Path
from typing import Any

import click

from steelyard.cli.asking import admin
from steelyard.cli.events import document, told, when
from steelyard.cli.output import json_option, print_json, print_table, short_digest
from steelyard.cli.settings import resolved, settings_options


@click.command(epilog="\b\nExample:\n  steelyard history prices --data models/.steelyard")
@click.argument("model", required=False, default="")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="The last so many."
)
@settings_options("data")
@json_option
def history(model: str, limit: int, config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """Show what happened to models, by whom and why.

    To MODEL, or to all of them, on a server that runs or has been stopped.
    """
    from steelyard.supervisor.datadir import find_server

    directory = resolved(config_file, {"data": data}).settings.data
    if find_server(directory) is not None:
        events = _from_server(config_file, data, model, limit)
    else:
        events = _from_disk(directory, model, limit)
    if as_json:
        print_json({"events": events})
        return
    rows = [
        [
            when(event["unix_ms"]),
            event["model"],
            event["kind"],
            told(event),
            short_digest(event["digest"]),
            f"{_who(event)}: {event['reason']}",
        ]
        for event in events
    ]
    print_table(["time", "model", "event", "what", "digest", "who and why"], rows)


def _who(event: dict[str, Any]) -> str:
    """Who the caller said they were, and who they are by the kernel."""
    details = event["details"]
    if "peer_uid" not in details:
        return str(event["actor"])
    return f"{event['actor']} ({details['peer_user'] or 'no name'}, uid {details['peer_uid']})"


def _from_server(config_file: Path | None, data: Path | None, model: str, limit: int) -> list[dict[str, Any]]:
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        request = pb.ListEventsRequest(model=model, limit=limit)
        return [document(event) for event in server.call("ListEvents", request, pb.ListEventsResponse).events]


def _from_disk(directory: Path, model: str, limit: int) -> list[dict[str, Any]]:
    from steelyard.evidence.log import EVENTS_FILE, read_events
    from steelyard.supervisor.admin import event_message

    events = read_events(directory / EVENTS_FILE).events
    found = [event for event in events if not model or event.model == model]
    return [document(event_message(event)) for event in found[-limit:]]
