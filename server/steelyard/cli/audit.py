"""`steelyard audit`: verifies what was recorded, and proves it to others."""

import importlib.util
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import resolved, settings_options
from steelyard.config import Settings

if TYPE_CHECKING:
    from steelyard.evidence.audit import Audit
    from steelyard.evidence.segments import SealedSegments
    from steelyard.evidence.tlog import KeyPaths, LogReader
    from steelyard.evidence.verifier import Key

F = TypeVar("F", bound=Callable[..., Any])

# What a table shows of what is wrong; --json has all of it.
FAULTS_SHOWN = 100


@click.group(epilog="\b\nExample:\n  steelyard audit verify --data models/.steelyard")
def audit() -> None:
    """Verify what was recorded, and prove it to others.

    Works on the data directory, beside a server that runs or without one. Every command of it takes --json.
    """


def _unix_ns(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    from steelyard.evidence.verifier import unix_ns

    if text is None:
        return None
    try:
        return unix_ns(text)
    except ValueError:
        raise click.BadParameter(
            f"expected a time such as 2026-01-31T12:00:00Z, or a date, got {text!r}"
        ) from None


def _key(context: click.Context, option: click.Parameter, text: str | None) -> "Key | None":
    from steelyard.evidence.verifier import VerificationError, read_key

    if text is None:
        return None
    try:
        return read_key(text)
    except VerificationError as error:
        raise click.BadParameter(str(error)) from None


def span_options(command: F) -> F:
    """The options --from and --to, as `since` and `until` in nanoseconds since the epoch."""
    for flag, name, what in (
        ("--to", "until", "Up to, without, this time."),
        ("--from", "since", "From this time on: RFC 3339, or a date (UTC)."),
    ):
        command = click.option(flag, name, metavar="TIME", callback=_unix_ns, help=what)(command)
    return command


@audit.command(
    epilog="\b\nExample:\n  steelyard audit verify --data models/.steelyard\n"
    "  steelyard audit verify --from 2026-01-01 --to 2026-02-01 --data models/.steelyard"
)
@span_options
@click.option(
    "--seen",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="An earlier checkpoint of the log, kept elsewhere, that it must have grown from.",
)
@click.option(
    "--key",
    "trusted",
    metavar="KEY",
    callback=_key,
    help="The log's verifier key, kept elsewhere; not given: the one that lies in the data directory.",
)
@settings_options("data", "tlog_key", "witness_key")
@json_option
def verify(
    since: int | None,
    until: int | None,
    seen: Path | None,
    trusted: "Key | None",
    config_file: Path | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Verify everything that was recorded, and say where anything was changed.

    Whoever can write to the data directory can sign another log with another key and put that beside it: so what is
    found right is "verified" by --key alone, and "consistent; signer unknown" without.

    The log's signatures, entries and tiles always, and the events and sealed segments of the time asked for. Exit codes
    are the verifier's: 0 verified, 1 wrong, 2 wrong usage, 3 consistent, and the signer unknown.
    """
    from steelyard.clock import SystemClock
    from steelyard.evidence.audit import Span
    from steelyard.evidence.audit import audit as audited
    from steelyard.evidence.audited import keep_audit
    from steelyard.evidence.keys import public_path, read_public
    from steelyard.evidence.tlog import LogReader
    from steelyard.evidence.verifier import CONSISTENT, EXIT_CODES, VERIFIED, WRONG

    settings, keys, log = _opened(config_file, flags)
    own = log.key
    if trusted is not None:
        log = LogReader(settings.data, trusted)
    span = Span(since or 0, Span().to_ns if until is None else until)
    found = audited(
        settings.data,
        log,
        sealed(settings.data),
        span=span,
        witnesses=[] if keys.witness is None else [read_public(public_path(keys.witness))],
        seen=None if seen is None else seen.read_bytes(),
    )
    # What another key than the server's finds says nothing of when its log was last verified.
    if span.is_whole and log.key == own:
        keep_audit(settings.data, found, SystemClock())
    right = VERIFIED if trusted is not None else CONSISTENT
    outcome = right if found.ok else WRONG
    if as_json:
        print_json({"ok": found.ok, "outcome": outcome, "key": str(log.key), **asdict(found)})
    else:
        _print(found, outcome)
        click.echo(f"signed by {log.key}")
        if outcome == CONSISTENT:
            click.echo("the key lies in the data directory: give the one that you keep elsewhere by --key")
    return EXIT_CODES[outcome]


@audit.command(
    epilog="\b\nExample:\n  steelyard audit prove 0198f2a4-7c11-7bd2-9a35-3d1f0c9b8a77 --data models/.steelyard\n"
    "  steelyard audit prove event:12 --output event-12.tlog-proof --data models/.steelyard"
)
@click.argument("decision", metavar="ID")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the proof goes; not given: ID.tlog-proof here.",
)
@settings_options("data", "tlog_key")
@json_option
def prove(decision: str, output: Path | None, config_file: Path | None, as_json: bool, **flags: Any) -> int:
    """Write one file that proves one decision's record.

    ID: the decision's id, or the request's where that was one only; or event:N, the event of that number. The file
    proves that the record is in its sealed segment, and that the segment is in the log.
    """
    from steelyard.cli.evidence import warn_of_unlisted
    from steelyard.errors import InvalidRequest
    from steelyard.evidence.apart import apart
    from steelyard.evidence.log import EVENTS_FILE, read_events
    from steelyard.evidence.proof import PROOF_SUFFIX, prove_event
    from steelyard.evidence.tiles import replace_file

    settings, _, log = _opened(config_file, flags)
    number = decision.removeprefix("event:")
    if decision.startswith("event:") and number.isdecimal():
        events = read_events(settings.data / EVENTS_FILE).events
        if not 1 <= int(number) <= len(events):
            raise InvalidRequest(f"no event {number}: there are {len(events)}")
        proof = prove_event(log, events[int(number) - 1])
    else:
        proof, unlisted = apart("steelyard.cli.audit:decision_proof", settings.data, log.key, decision)
        warn_of_unlisted(unlisted)
    path = output or Path(decision.replace(":", "-").replace("/", "-") + PROOF_SUFFIX)
    replace_file(path, proof, 0o644)
    if as_json:
        print_json({"file": str(path), "key": str(log.key)})
    else:
        click.echo(f"{path}: verified by python verifier.py {path} --key {log.key}")
    return 0


@audit.command(
    epilog="\b\nExample:\n  steelyard audit bundle --model prices --from 2026-01-01 --to 2026-04-01 "
    "--data models/.steelyard"
)
@click.option("--model", required=True, metavar="MODEL", help="The model that it is about.")
@span_options
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the bundle goes; not given: MODEL-audit.zip here.",
)
@settings_options("repository", "data", "tlog_key")
@json_option
def bundle(
    model: str,
    since: int | None,
    until: int | None,
    output: Path | None,
    config_file: Path | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Write a bundle that auditors verify without us.

    A zip file of a model's decision records and events, its manifests, what proves them, and the program that verifies
    all of it offline.
    """
    from steelyard.clock import SystemClock
    from steelyard.errors import InvalidRequest
    from steelyard.evidence.bundle import write_bundle
    from steelyard.evidence.log import EVENTS_FILE, read_events
    from steelyard.models.names import name_problem

    if problem := name_problem(model):
        raise InvalidRequest(problem)
    settings, _, log = _opened(config_file, flags)
    path = output or Path(f"{model}-audit.zip")
    written = write_bundle(
        path,
        settings.data,
        log,
        sealed(settings.data),
        read_events(settings.data / EVENTS_FILE).events,
        _manifests(settings.repository / model),
        model,
        since or 0,
        SystemClock().unix_ns() if until is None else until,
    )
    if as_json:
        print_json({"file": str(path), "key": str(log.key), **asdict(written)})
    else:
        click.echo(
            f"{path}: {written.events} events, {written.records} records in {written.segments} segments; "
            f"verified by python verifier.py {path} --key {log.key}"
        )
    return 0


@audit.command(
    epilog="\b\nExample:\n  steelyard audit key witness.key --name witness.example/w1",
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--name", required=True, metavar="NAME", help="What the witness is called; no spaces, no plus sign."
)
@json_option
def key(file: Path, name: str, as_json: bool) -> int:
    """Make the key of a witness.

    FILE is for the witness alone; FILE.pub, which is printed, is for everybody.
    """
    from steelyard.evidence.keys import make_key
    from steelyard.evidence.verifier import COSIGNATURE

    made = make_key(file, COSIGNATURE, name)
    if as_json:
        print_json({"file": str(file), "key": str(made.key)})
    else:
        click.echo(str(made.key))
    return 0


@audit.command(
    epilog="\b\nExample:\n  steelyard audit witness --witness-key witness.key --seen checkpoint.seen "
    "--data models/.steelyard"
)
@click.option(
    "--seen",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The last checkpoint that the witness signed; the next one is written there.",
)
@settings_options("data", "tlog_key", "witness_key")
@json_option
def witness(seen: Path, config_file: Path | None, as_json: bool, **flags: Any) -> int:
    """Sign the log's checkpoint as a witness.

    Signs where the log has only grown since the checkpoint that is at --seen, and refuses otherwise. To be run by
    somebody else than the log's owner, on a copy of the log's directory or the directory itself.
    """
    from steelyard.clock import SystemClock
    from steelyard.evidence.keys import load_key
    from steelyard.evidence.verifier import COSIGNATURE
    from steelyard.evidence.witness import cosign

    _, keys, log = _opened(config_file, flags)
    if keys.witness is None:
        raise click.UsageError("--witness-key: expected the key to sign with")
    signer = load_key(keys.witness, COSIGNATURE)
    checkpoint = cosign(log, signer, seen, SystemClock())
    if as_json:
        print_json({"size": checkpoint.size, "root": checkpoint.root.hex(), "witness": str(signer.key)})
    else:
        click.echo(f"{seen}: signed by {signer.key.name}, a log of {checkpoint.size} entries")
    return 0


def sealed(data: Path) -> "SealedSegments":
    """What reads the sealed segments of a data directory, where what reads Parquet is installed."""
    if any(importlib.util.find_spec(name) is None for name in ("duckdb", "pyarrow")):
        from steelyard.evidence.segments import NoSegments

        return NoSegments()
    from steelyard.evidence.parquet_segments import ParquetSegments

    return ParquetSegments(data)


def decision_proof(data: Path, key: "Key", decision: str) -> tuple[bytes, list[str]]:
    """A decision's proof, and the files that the ledger does not name; called in a process apart."""
    from steelyard.evidence.gone import looked_again

    return looked_again(lambda: _decision_proof(data, key, decision))


def _decision_proof(data: Path, key: "Key", decision: str) -> tuple[bytes, list[str]]:
    from steelyard.cli.named import decisions_named, the_only_one
    from steelyard.errors import InvalidRequest, ModelNotFound
    from steelyard.evidence.proof import prove_decision
    from steelyard.evidence.segments import NoSegments
    from steelyard.evidence.tlog import LogReader

    segments, log = sealed(data), LogReader(data, key)
    if isinstance(segments, NoSegments):
        return prove_decision(log, segments, decision), []
    from steelyard.evidence.store import unlisted

    try:
        found = decisions_named(data, decision)
    except ModelNotFound:
        # What the log is about may be said better of what is not there.
        return prove_decision(log, segments, decision), unlisted(data)
    decision_id = the_only_one(decision, [one.decision.decision_id for one in found])
    try:
        return prove_decision(log, segments, decision_id), unlisted(data)
    except InvalidRequest:
        file = found[0].where
        if not file.startswith("journal/"):
            raise
        raise InvalidRequest(
            f"decision {decision!r} is recorded in {file} and not sealed yet, and what is proven is a sealed segment: "
            "one is closed when it is full, or as old as journal_segment_age_s says"
        ) from None


def _opened(config_file: Path | None, flags: dict[str, Any]) -> "tuple[Settings, KeyPaths, LogReader]":
    from steelyard.evidence.tlog import key_paths, open_reader

    settings = resolved(config_file, flags).settings
    keys = key_paths(settings.data, settings.tlog_key, settings.witness_key)
    return settings, keys, open_reader(settings.data, keys)


def _manifests(model: Path) -> dict[str, bytes]:
    """model.toml and every version.toml that the repository has, by their paths in it."""
    files = [model / "model.toml", *sorted(model.glob("*/version.toml"))]
    return {f"{file.relative_to(model.parent)}": file.read_bytes() for file in files if file.is_file()}


def _print(found: "Audit", outcome: str) -> None:
    if found.faults:
        shown = [[fault.where, fault.what] for fault in found.faults[:FAULTS_SHOWN]]
        print_table(["where", "what is wrong"], shown)
        if len(found.faults) > len(shown):
            click.echo(f"and {len(found.faults) - len(shown)} more")
    click.echo(
        f"{'WRONG' if found.faults else outcome}: a log of {found.size} entries, {found.events} events, "
        f"{found.records} records in {found.segments} segments"
        + (f", {len(found.faults)} faults" if found.faults else "")
    )
    if found.notes or found.unlogged_notes:
        unlogged = f", and {found.unlogged_notes} that no entry is about yet" if found.unlogged_notes else ""
        click.echo(f"{found.notes} files of notes{unlogged}")
    if found.expired:
        click.echo(f"{found.expired} segments are no longer kept, which an event says")
    if found.waiting_events:
        click.echo(f"{found.waiting_events} events are not in the log yet")
