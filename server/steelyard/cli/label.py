"""`steelyard label`: which version each label of a model stands for, and moving it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from steelyard.cli.asking import admin, reason_option, who
from steelyard.cli.events import moved, when
from steelyard.cli.output import json_option, print_json, print_table, short_digest
from steelyard.cli.settings import resolved, settings_options
from steelyard.errors import ModelNotFound


@click.group(
    epilog="\b\nExample:\n  steelyard label list --data models/.steelyard\n"
    '  steelyard label set prices champion 3 --reason "better on last week" --data models/.steelyard'
)
def label() -> None:
    """Show and move the labels of models.

    A caller asks for a label in the place of a version's number. The default label, champion unless model.toml says
    otherwise, answers where a caller names none; until somebody sets it, it follows the highest version that is ready.
    Every command of it takes --json.
    """


@label.command("list")
@click.argument("model", required=False, default="")
@settings_options("data")
@json_option
def list_labels(model: str, config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """Show where labels stand, of MODEL or of all models, on a server that runs or has been stopped."""
    from steelyard.supervisor.datadir import find_server

    directory = resolved(config_file, {"data": data}).settings.data
    running = find_server(directory) is not None
    labels = _from_server(config_file, data, model) if running else _from_disk(directory, model)
    if as_json:
        print_json({"labels": labels})
        return
    rows = [
        [
            found["model"],
            found["label"],
            str(found["version"]),
            short_digest(found["digest"]),
            "" if found["previous"] is None else str(found["previous"]["version"]),
            when(found["since_unix_ms"]),
            "follows" if found["follows"] else f"{found['actor']}: {found['reason']}",
        ]
        for found in labels
    ]
    print_table(
        ["model", "label", "version", "digest", "before", "since", "set by"],
        rows,
        right=["version", "before"],
    )


@label.command("set")
@click.argument("model")
@click.argument("label")
@click.argument("version")
@click.option(
    "--from", "expected", type=click.IntRange(min=1), metavar="N", help="Only if it stands for version N."
)
@reason_option
@settings_options("data")
@json_option
def set_label(
    model: str,
    label: str,
    version: str,
    expected: int | None,
    reason: str,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Let LABEL of MODEL stand for VERSION: a number, another label, or sha256: and 12 digits or more.

    The version is loaded where it is not, and must pass its golden examples. Every request that begins after this
    command has returned is answered by it.
    """
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        request = pb.SetLabelRequest(
            model=model, label=label, version=version, who=who(reason), expected=expected or 0
        )
        moved(server.call("SetLabel", request, pb.Event), as_json)


@label.command("remove")
@click.argument("model")
@click.argument("label")
@reason_option
@settings_options("data")
@json_option
def remove_label(
    model: str, label: str, reason: str, config_file: Path | None, data: Path | None, as_json: bool
) -> None:
    """Take LABEL of MODEL away; the default label follows the highest version again."""
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        request = pb.RemoveLabelRequest(model=model, label=label, who=who(reason))
        moved(server.call("RemoveLabel", request, pb.Event), as_json)


def _from_server(config_file: Path | None, data: Path | None, model: str) -> Sequence[dict[str, Any]]:
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        answer = server.call("ListLabels", pb.ListLabelsRequest(model=model), pb.ListLabelsResponse)
    return [_document(found) for found in answer.labels]


def _from_disk(directory: Path, model: str) -> Sequence[dict[str, Any]]:
    from steelyard.evidence.log import EVENTS_FILE, read_events
    from steelyard.rollout.labels import fold
    from steelyard.supervisor.admin import label_message

    models = fold(read_events(directory / EVENTS_FILE).events)
    if model and model not in models:
        raise ModelNotFound(f"no label of model {model!r} stands for anything in {directory}")
    return [
        _document(label_message(name, found))
        for name in ([model] if model else sorted(models))
        for _, found in sorted(models[name].labels.items())
    ]


def _document(message: Any) -> dict[str, Any]:
    return {
        "model": message.model,
        "label": message.label,
        "version": message.holder.version,
        "digest": message.holder.digest,
        "follows": message.follows,
        "previous": {"version": message.previous.version, "digest": message.previous.digest}
        if message.HasField("previous")
        else None,
        "since_unix_ms": message.since_unix_ms,
        "actor": message.actor,
        "reason": message.reason,
    }
