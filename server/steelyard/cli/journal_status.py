"""`steelyard journal status`: what is recorded of decisions, and whether all of them are accounted for."""

import importlib.util
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.events import when
from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import resolved, settings_options
from steelyard.errors import Unavailable

if TYPE_CHECKING:
    from steelyard.evidence.status import Accounting

# The label that tells the samples of a metric apart; where none is named, all are one.
_APART = {
    "steelyard_requests_total": "outcome",
    "steelyard_requests_received_total": "",
    "steelyard_decisions_total": "record",
    "steelyard_journal_records_total": "state",
}
PAGE_TIMEOUT_S = 10.0


@click.command(epilog="\b\nExample:\n  steelyard journal status --data models/.steelyard")
@settings_options("data")
@json_option
def status(config_file: Path | None, data: Path | None, as_json: bool) -> int:
    """Show what the journal holds, and whether every request is accounted for.

    Of a server that runs, what it counted since its start as well. Exit status 1 where something is not accounted for.
    """
    from steelyard.evidence.status import journal_files
    from steelyard.supervisor.datadir import find_server

    where = resolved(config_file, {"data": data}).settings.data
    found = journal_files(where)
    sealed = _sealed(where)
    server = find_server(where)
    counted = None if server is None else _asked(server.http_address)
    if as_json:
        document: dict[str, Any] = {"files": asdict(found), "sealed": asdict(sealed), "server": None}
        if counted is not None:
            document["server"] = {**asdict(counted), "unaccounted": counted.unaccounted}
        print_json(document)
    else:
        print_table(
            ["files", "open", "bytes", "records", "missing in gaps"],
            [
                [
                    str(found.files),
                    str(found.open_files),
                    f"{found.bytes:,}",
                    f"{found.records:,}",
                    f"{sum(gap.count for gap in found.gaps):,}",
                ]
            ],
        )
        gone = f"; {sealed.removed_records:,} removed by retention" if sealed.removed_records else ""
        click.echo(
            f"sealed: {sealed.records:,} records in {sealed.files:,} files, {sealed.missing:,} missing in gaps{gone}"
        )
        for gap in found.gaps:
            since, until = when(gap.from_unix_ns // 1_000_000), when(gap.to_unix_ns // 1_000_000)
            click.echo(f"gap: {gap.count or 'an unknown number of'} decisions, {since} to {until}: {gap.why}")
        if counted is not None:
            _show(counted)
    return 1 if counted is not None and counted.unaccounted else 0


@dataclass(slots=True)
class SealedCounts:
    """What the ledger of sealed files says."""

    files: int = 0
    records: int = 0
    missing: int = 0
    """In gaps of the files of the journal that were sealed."""
    removed_records: int = 0
    """Of `records` none: they are no longer kept."""


def _sealed(data: Path) -> SealedCounts:
    """Counts them, all nought where what reads them is not installed: then nothing was sealed here either."""
    if importlib.util.find_spec("pyarrow") is None:
        return SealedCounts()
    from steelyard.evidence.ledger import read_ledger

    ledger = read_ledger(data)
    there = {file: one for file, one in ledger.summaries.items() if file not in ledger.removed}
    return SealedCounts(
        len(there),
        sum(summary.records for summary in there.values()),
        sum(gap.count for sealed in ledger.sealed.values() for gap in sealed.gaps),
        sum(gone.records for gone in ledger.removed.values()),
    )


def _show(counted: "Accounting") -> None:
    parts = " + ".join(f"{count:,} {fate}" for fate, count in counted.fates.items())
    click.echo(
        f"since the server's start: {counted.received:,} received, {counted.ended:,} ended = {parts}"
        + (f", {counted.unaccounted:,} UNACCOUNTED FOR" if counted.unaccounted else "")
    )
    click.echo(
        f"of the recorded: {counted.written:,} written, {counted.synced:,} on disk, {counted.unwritten:,} that no file "
        f"would take; {counted.lost:,} requests were lost with a worker"
    )


def _asked(address: str) -> "Accounting":
    """What the server counts. Asks again where a batch was just being counted."""
    from steelyard.evidence.status import accounting

    counted = accounting(_samples(address))
    for _ in range(5):
        if not counted.unaccounted:
            break
        counted = accounting(_samples(address))
    return counted


def _samples(address: str) -> dict[tuple[str, str], float]:
    from prometheus_client.parser import text_string_to_metric_families

    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=PAGE_TIMEOUT_S) as page:
            text = page.read().decode()
    except (OSError, urllib.error.URLError) as error:
        raise Unavailable(f"the server's metrics at {address}: {error}") from None
    found: dict[tuple[str, str], float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in _APART:
                found[sample.name, sample.labels.get(_APART[sample.name], "")] += sample.value
    return found
