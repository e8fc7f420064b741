"""`steelyard explain`: all that is known of one decision, in one screen."""

import datetime
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from steelyard.cli.events import told, when
from steelyard.cli.evidence import need_extra, warn_of_unlisted
from steelyard.cli.output import json_option, print_json, print_table, short_digest
from steelyard.cli.settings import resolved, settings_options
from steelyard.evidence.apart import apart
from steelyard.observe.logs import printable

# What a screen has room for; --json has all.
_MATES_SHOWN = 8
_EVENTS_SHOWN = 8
_NOTE_CHARS = 160
_VALUE_CHARS = 400


@click.command(
    epilog="\b\nExample:\n  steelyard explain 01976f3e-2c1b-7a41-9a55-6f1d8e0c7b22 --data models/.steelyard\n"
    "  steelyard explain order-4711 --json"
)
@click.argument("name", metavar="ID")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where versions and manifests are; not given: the running server's, or the one that the data directory is in.",
)
@click.option(
    "--attribute",
    is_flag=True,
    help="Divide the answer among the columns of its row, from what was captured.",
)
@click.option(
    "--row", type=click.IntRange(min=0), default=0, show_default=True, help="Which row --attribute is about."
)
@click.option(
    "--steps/--no-steps",
    default=None,
    help="Run a captured request again for what the pipeline's steps make of it; not given: versions up to 64 MiB.",
)
@settings_options("data")
@json_option
def explain(
    name: str,
    repository: Path | None,
    attribute: bool,
    row: int,
    steps: bool | None,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Show all that is known of one decision.

    ID is the decision's id, which every answer and refusal names, or what the caller named its request.
    """
    need_extra()
    directory = resolved(config_file, {"data": data}).settings.data
    root = _repository(directory, repository)
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(apart, "steelyard.cli.reading:explain_decision", directory, name, root)
        # While the other process imports what it needs.
        from steelyard.cli.payload_shown import attributed, kept_entry, payload_document
        from steelyard.cli.steps_shown import steps_document

        document = reading.result()
    warn_of_unlisted(document.pop("unlisted"))
    entry = kept_entry(directory, document["decision"]["decision_id"])
    document["payload"] = payload_document(entry)
    document["pipeline"] = steps_document(entry, root, steps)
    came_of = attributed(entry, root, row) if attribute else None
    document["attribution"] = None if came_of is None else asdict(came_of)
    if as_json:
        print_json(document)
    else:
        _print(document)
        if came_of is not None:
            from steelyard.replay.attributing import render

            for line in render(came_of):
                click.echo(printable(line))


def _repository(directory: Path, named: Path | None) -> Path | None:
    from steelyard.supervisor.datadir import find_server

    if named is not None:
        return named
    if (server := find_server(directory)) is not None:
        return Path(server.repository)
    return directory.absolute().parent if directory.name == ".steelyard" else None


def _print(document: dict[str, Any]) -> None:
    decision = document["decision"]
    _line("decision", f"{decision['decision_id']}  {decision['received']}  worker {_or(decision['worker'])}")
    if decision["request_id"] or decision["caller"] or decision["trace_id"]:
        said = [
            f"{name} {decision[name]}"
            for name in ("request_id", "caller", "key", "trace_id")
            if decision[name]
        ]
        _line("asked", ", ".join(said))
    ended = decision["outcome"] if not decision["reason"] else f"{decision['outcome']} ({decision['reason']})"
    _line(
        "ended",
        f"{ended}, status {decision['code']}, {decision['rows']} rows {decision['message']}".rstrip()
        + _heard(document["notes"]),
    )
    signed = f", signed by {decision['signer']}" if decision["signer"] else ""
    _line(
        "model",
        f"{decision['model']} version {decision['version']} {decision['digest']} as {decision['role']}{signed}",
    )
    labels = ", ".join(document["labels"]) or "none that anybody set"
    _line("labels then", labels)
    _print_standing(document)
    if decision["flags"]:
        _line("contract", ", ".join(decision["flags"]))
    for note in document["notes"]:
        body = ", ".join(
            f"{key} {value}" for key, value in note.items() if key not in ("note", "decision_id", "model")
        )
        _line(str(note.get("note", "note")), body[:_NOTE_CHARS])
    if document["payload"] is not None:
        _print_payload(document["payload"])
    _print_steps(document["pipeline"])
    _print_shadows(document["shadows"])
    for one in document["feedback"]:
        value = json.dumps(one["value"], ensure_ascii=False)[:_VALUE_CHARS]
        late = datetime.timedelta(seconds=round(one["late_ms"] / 1000))
        _line("feedback", f"{value} by {one['source']}, {late} later ({one['received']})")
    if document["feedback_damaged"]:
        _line("feedback", f"{document['feedback_damaged']} lines of this decision are damaged")
    batch = document["batch"]
    if batch["requests"]:
        mates = ", ".join(short_id(mate["decision_id"]) for mate in batch["mates"][:_MATES_SHOWN])
        more = len(batch["mates"]) - _MATES_SHOWN
        _line(
            "batch",
            f"{batch['requests']} requests, {batch['rows']} rows, position {batch['position']}"
            + (f"; with {mates}{f' and {more} more' if more > 0 else ''}" if mates else ""),
        )
    if document["stages"]:
        rows = [
            [
                name,
                _ms(stage["ns"]),
                _ms(stage["p50_ns"]),
                _ms(stage["p99_ns"]),
                "" if stage["share_below"] is None else f"{stage['share_below']:.1%}",
            ]
            for name, stage in document["stages"].items()
        ]
        header = ["stage", "ms", "p50 ms", "p99 ms", "faster"]
        click.echo(f"stages, beside {document['hour_count']} answers of the same version in the same hour")
        print_table(header, rows, right=header[1:])
    if document["events"]:
        click.echo("in the hour before")
        events = document["events"][-_EVENTS_SHOWN:]
        print_table(
            ["time", "event", "what", "digest", "who and why"],
            [
                [
                    when(event["unix_ms"]),
                    event["kind"],
                    told(event),
                    short_digest(event["digest"]),
                    f"{event['actor']}: {event['reason']}",
                ]
                for event in events
            ],
        )
    else:
        _line("hour before", "nothing changed")
    if document["others"]:
        _line("also so named", ", ".join(document["others"]))
    _line("record", f"{document['leaf_hash']} in {document['where']}")


def _heard(notes: list[dict[str, Any]]) -> str:
    """What is known of a caller that did not get the answer that is recorded."""
    from steelyard.wire.status import Status

    for note in notes:
        if note["note"] == "told":
            return f"; but its caller heard {Status(note['code']).name}"
        if note["note"] == "unsure":
            return "; but its caller may not have heard it"
    return ""


def _print_standing(document: dict[str, Any]) -> None:
    """Who answered for it then, and where it came from; a value as long as a page of text is cut."""
    for name, nothing in (("governance", "nobody named"), ("lineage", "nothing named")):
        said = [f"{key} {str(value)[:_NOTE_CHARS]}" for key, value in document[name].items()]
        note = document[f"{name}_note"]
        _line(
            "owner then" if name == "governance" else name,
            f"{', '.join(said) or nothing}{note and '; ' + note}",
        )
    changed = [
        f"{key} {_or_none(change['to'])} in the place of {_or_none(change['from'])}"
        for key, change in document["governance_since"].items()
    ]
    if changed:
        _line("owner now", ", ".join(changed))


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)[:_NOTE_CHARS]


def _print_payload(payload: dict[str, Any]) -> None:
    if payload["erased"]:
        _line("payload", "erased")
        return
    why = f"kept by {', '.join(payload['reasons'])}" if payload["kept"] else "only digests were kept"
    masked = f"; masked: {', '.join(payload['masked'])}" if payload["masked"] else ""
    _line("payload", f"{why}{masked}")
    for kind in ("inputs", "outputs"):
        for tensor in payload[kind]:
            shape = ",".join(map(str, tensor["shape"]))
            values = json.dumps(tensor["values"], ensure_ascii=False)
            cut = len(values) > _VALUE_CHARS or tensor["more"]
            shown = values[:_VALUE_CHARS] + (" ..." if cut else "")
            _line(kind[:-1], f"{tensor['name']} {tensor['datatype']}[{shape}] {shown}")
    if payload["error"]:
        _line("told", payload["error"][:_VALUE_CHARS])


def _print_steps(document: dict[str, Any]) -> None:
    from steelyard.cli.steps_shown import steps_lines

    for line in steps_lines(document):
        _line("step" if document["steps"] else "steps", line)


def _print_shadows(documents: list[dict[str, Any]]) -> None:
    from steelyard.cli.shadows_shown import shadows_lines

    for document in documents:
        for line in shadows_lines(document):
            _line("shadow", line)


def short_id(decision_id: str) -> str:
    """As much of a decision id as people compare: its random end."""
    return f"…{decision_id[-12:]}"


def _line(name: str, text: str) -> None:
    click.echo(printable(f"{name:<14}{text}"))


def _or(value: object) -> object:
    return "?" if value is None else value


def _ms(ns: int | None) -> str:
    return "" if ns is None else f"{ns / 1e6:.3f}"
