"""`steelyard replay`: captured requests again, on what answered them or on another version."""

import contextlib
import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.moment import moment
from steelyard.cli.output import json_option, print_json, print_table, short_digest
from steelyard.cli.settings import resolved, settings_options
from steelyard.observe.logs import printable

if TYPE_CHECKING:
    from steelyard.evidence.payload_files import Entry
    from steelyard.replay.verdict import Replayed

# Of many, those that differ are listed, as far as people read.
SHOWN = 20

# The verdicts that a command ends with 1 for.
WRONG = ("differs", "changed")

# Of a payload without a note: rewritten with its digests, it would look the same.
ITSELF_ALONE = "held against its own digests alone"

NOT_READ = "the journal's notes cannot be read, as pyarrow is not installed (steelyard[evidence])"

# What serves on the same machine comes first.
NICENESS = 10


@click.command(
    epilog="\b\nExample:\n  steelyard replay 0197... --data models/.steelyard\n"
    "  steelyard replay 0197... --version 4\n"
    "  steelyard replay --model prices --since 2h --filter 'version=3 and reason=flag' --candidate build/prices"
)
@click.argument("decision", required=False, metavar="[ID]")
@click.option("--model", default="", metavar="MODEL", help="Only decisions of this model.")
@click.option(
    "--since",
    callback=moment,
    metavar="WHEN",
    help="Only later ones: 30m, 2h, 7d ago, or a time such as 2027-03-31T12:00.",
)
@click.option(
    "--filter",
    "wanted",
    metavar="TERMS",
    help="Only those that keep every term, as in 'version=3 and reason=error'.",
)
@click.option("--limit", type=click.IntRange(1), default=10_000, show_default=True, help="At most so many.")
@click.option(
    "--version", type=click.IntRange(1), metavar="N", help="Run on this version, not on what answered."
)
@click.option(
    "--candidate",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Run on the version in this directory.",
)
@click.option(
    "--absolute", type=click.FloatRange(min=0), help="Tolerance: not given, the model's batch_tolerance."
)
@click.option(
    "--relative", type=click.FloatRange(min=0), help="Tolerance, the part that grows with the value."
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="How many at a time; not given: as many as processors."
)
@click.option(
    "--repository",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the versions are; not given: the settings', else the running server's.",
)
@settings_options("data")
@json_option
def replay(
    decision: str | None,
    model: str,
    since: int | None,
    wanted: str | None,
    limit: int,
    version: int | None,
    candidate: Path | None,
    absolute: float | None,
    relative: float | None,
    jobs: int | None,
    repository: Path | None,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Run captured requests again, and compare the answers.

    ID is a decision's, or its request's; without it, all that is kept since --since, of --model, and by --filter. They
    run here, at low priority, on versions that are loaded from the repository: a server that runs is not asked. Ends
    with 1 where an answer differs, or a payload is not what was recorded.
    """
    many = model or since is not None or wanted is not None
    if (decision is None) != bool(many):
        raise click.UsageError("expected either a decision's ID, or --since, --model or --filter")
    if version is not None and candidate is not None:
        raise click.UsageError("expected at most one of --version and --candidate")
    from steelyard.cli.models import repository_of
    from steelyard.evidence.apart import apart
    from steelyard.evidence.payload_files import find
    from steelyard.evidence.payload_notes import PayloadNotes
    from steelyard.models.manifest import BatchTolerance
    from steelyard.replay.run import Replay, Target
    from steelyard.replay.version import Versions
    from steelyard.runtime.threads import thread_budget
    from steelyard.supervisor.datadir import find_server

    found = resolved(config_file, {"repository": repository, "data": data})
    running = find_server(found.settings.data) if found.origins["repository"] == "default" else None
    root = repository_of(found) if running is None else Path(running.repository)
    # Before a session is made, whose threads inherit it.
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    tolerance = None
    if absolute is not None or relative is not None:
        tolerance = BatchTolerance(absolute=absolute or 0.0, relative=relative or 0.0)
    directory = found.settings.data
    versions, target = Versions(root, 1), Target(version, candidate)

    not_read = "" if importlib.util.find_spec("pyarrow") is not None else NOT_READ

    def work(chosen: "Sequence[Entry]") -> Replay:
        notes = {}
        if chosen and not not_read:
            decisions = {entry.head.decision_id for entry in chosen}
            notes = apart("steelyard.evidence.payload_notes:payload_notes", directory, decisions)
        return Replay(versions, target, tolerance, PayloadNotes(directory, notes).of)

    if decision is not None:
        entry = find(directory, decision)
        one = work([entry]).one(entry)
        if as_json:
            print_json({**asdict(one), "notes_not_read": not_read})
        else:
            _print_one(one, not_read)
        return int(one.verdict in WRONG)
    damage: list[str] = []
    chosen = list(islice(_chosen(directory, model, since or 0, wanted, damage), limit))
    results = work(chosen).many(chosen, jobs or thread_budget())
    return _print_many(_progress(results, len(chosen), not as_json), damage, not_read, as_json)


def _chosen(
    data: Path, model: str, since_ms: int, wanted: str | None, damage: list[str]
) -> "Iterator[Entry]":
    """The entries whose request and answer are kept and that the filter lets pass."""
    from steelyard.errors import EvidenceError
    from steelyard.evidence.payload_files import all_entries
    from steelyard.evidence.payload_filter import parse_filter

    passes = parse_filter(wanted) if wanted is not None else None
    for entry in all_entries(data, since_ms, model, damage):
        if entry.head.erased or not entry.head.request_bytes:
            continue
        try:
            if passes is None or passes(entry.read()):
                yield entry
        except EvidenceError as error:
            damage.append(str(error))


def _progress(results: "Iterator[Replayed]", total: int, shown: bool) -> "Iterable[Replayed]":
    if not shown or not sys.stderr.isatty():
        return results
    from rich.console import Console
    from rich.progress import track

    return track(results, "Replaying", total=total, console=Console(stderr=True), transient=True)


def _print_one(one: "Replayed", not_read: str) -> None:
    lines = [f"{one.decision_id}: {one.verdict}" + (f", from {one.begins} on" if one.begins else "")]
    if one.why:
        lines.append(one.why)
    if one.then is not None and one.now is not None:
        then = f"version {one.then['version']} ({short_digest(one.then['digest'])})"
        now = f"{one.now['name']} ({short_digest(one.now['digest'])})"
        lines.append(f"{one.model}: then {then}, now {now}")
    if not one.noted:
        lines.append(f"{not_read or 'the journal has no note of this payload'}: {ITSELF_ALONE}")
    for line in lines:
        click.echo(printable(line))


def _print_many(results: "Iterable[Replayed]", damage: list[str], not_read: str, as_json: bool) -> int:
    counts: Counter[str] = Counter()
    begins: Counter[str] = Counter()
    others: list[Replayed] = []
    unnoted: list[str] = []
    wrong = 0
    for one in results:
        counts[one.verdict] += 1
        if not one.noted:
            unnoted.append(one.decision_id)
        if one.verdict == "equal":
            continue
        wrong += one.verdict in WRONG
        if one.verdict == "differs":
            begins[one.begins or "not known"] += 1
        # Of a million that differ, the first ones are read.
        if as_json or len(others) < SHOWN:
            others.append(one)
    if as_json:
        documents: list[dict[str, Any]] = [asdict(one) for one in others]
        print_json(
            {
                "replayed": counts.total(),
                "verdicts": dict(counts),
                "begins": dict(begins),
                "not_equal": documents,
                "unnoted": unnoted,
                "notes_not_read": not_read,
                "damaged": damage,
            }
        )
        return int(wrong > 0)
    if others:
        rows = [[one.decision_id, one.verdict, one.begins or "", printable(one.why[:200])] for one in others]
        print_table(["decision", "", "begins at", "why"], rows)
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    click.echo(f"{counts.total()} replayed" + (f": {told}" if told else ""))
    for line in _lines_on_notes(unnoted, not_read):
        click.echo(line)
    for line in damage:
        click.echo(printable(f"damaged: {line}"))
    return int(wrong > 0)


def _lines_on_notes(unnoted: list[str], not_read: str) -> list[str]:
    """Which payloads the journal did not vouch for, the first of them by name."""
    if not_read and unnoted:
        return [f"{len(unnoted)} payloads, {ITSELF_ALONE}: {not_read}"]
    if not unnoted:
        return []
    more = [f"and {len(unnoted) - SHOWN} more"] if len(unnoted) > SHOWN else []
    told = f"{len(unnoted)} without a note in the journal, {ITSELF_ALONE}:"
    return [told, *(f"  {one}" for one in (*unnoted[:SHOWN], *more))]
