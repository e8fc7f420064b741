"""`steelyard check`: what a server would refuse in a repository."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from steelyard.cli.output import json_option, print_json, print_table, short_digest
from steelyard.cli.settings import resolved, settings_options
from steelyard.config import Settings
from steelyard.errors import SteelyardError
from steelyard.models.golden import show_failing
from steelyard.models.manifest import ModelManifest, read_model_manifest
from steelyard.models.repository import Listing, ModelDir, VersionDir, scan
from steelyard.models.spec import TensorSpec
from steelyard.models.versions import wanted


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one version, or of a model or directory that no version could be loaded from."""

    model: str
    version: int | None
    ok: bool
    reason: str = ""
    """Why not, where it is not."""
    digest: str = ""
    signer: str = ""
    """Who signed it; empty where nobody did, or nobody looked."""
    device: str = ""
    inputs: tuple[str, ...] = ()
    """Each as "NAME DATATYPE[DIMS]"."""
    outputs: tuple[str, ...] = ()
    batching: bool = False
    batching_reason: str = ""
    ragged: bool = False
    """Whether rows of different length share batches."""
    ragged_reason: str = ""
    """Why, or why not, where the manifest asks for it."""
    threads_reason: str = ""
    """Where fewer threads are used than the manifest asks for, how many and why."""
    golden_failing: dict[str, str] = field(default_factory=dict)
    """Golden examples that fail, and what is wrong, of a version that is served all the same."""


@dataclass(frozen=True, slots=True)
class Work:
    """A version to load."""

    model: ModelDir
    version: VersionDir
    manifest: ModelManifest


@click.command(
    epilog="\b\nExample:\n  steelyard check models/\n  steelyard check models/ --profile production --json"
)
@click.argument("repository", type=click.Path(path_type=Path))
@settings_options("profile", "model_signers", "threads", "load_threads")
@json_option
def check(repository: Path, config_file: Path | None, as_json: bool, **flags: Any) -> int:
    """Find what a server would refuse in a repository.

    Nothing is served: reads every manifest, loads every version that the version policies ask for, runs each
    with made-up inputs and finds out whether its rows may share a batch. Ends with exit code 1 where anything
    is wrong.
    """
    settings = resolved(config_file, {**flags, "repository": repository}).settings
    from steelyard.supervisor.supervisor import runtime_version

    runtime_version()
    listing = scan(settings.repository)
    findings, work = _plan(listing)
    findings += _progress(_load(work, settings), len(work), shown=not as_json)
    findings.sort(key=lambda finding: (finding.model, finding.version or 0))
    wrong = [finding for finding in findings if not finding.ok]
    if as_json:
        print_json({"ok": not wrong, "versions": [asdict(finding) for finding in findings]})
    else:
        _print(findings, len(wrong))
    return 1 if wrong else 0


def _plan(listing: Listing) -> tuple[list[Finding], list[Work]]:
    """What is wrong before anything is loaded, and what is to be loaded."""
    findings = [Finding(_place(p.path, listing), None, False, p.message) for p in listing.problems]
    work = []
    for model in listing.models.values():
        try:
            manifest = read_model_manifest(model.manifest_path)
        except SteelyardError as error:
            findings.append(Finding(model.name, None, False, str(error)))
            continue
        present = [version.number for version in model.versions]
        numbers = wanted(manifest.serving.versions, present)
        if not numbers:
            there = ", ".join(map(str, present))
            reason = f"the version policy asks for none of the versions that are there: {there}"
            findings.append(Finding(model.name, None, False, reason))
        work += [Work(model, version, manifest) for version in model.versions if version.number in numbers]
    return findings, work


def _place(path: Path, listing: Listing) -> str:
    """The model, or the model and the directory in it, that a problem is about."""
    return f"{path.parent.name}/{path.name}" if path.parent.name in listing.models else path.name


def _load(work: list[Work], settings: Settings) -> Iterator[Finding]:
    from steelyard.runtime.threads import thread_budget
    from steelyard.serving.loading import Environment, load_version
    from steelyard.serving.verdicts import Verdicts

    threads = settings.threads or thread_budget()
    environment = Environment(
        threads,
        settings.profile,
        Verdicts(None),
        settings.inline_threshold_us * 1000,
        signers=settings.model_signers,
    )

    def load(one: Work) -> Finding:
        name, number = one.model.name, one.version.number
        try:
            loaded = load_version(name, one.version.path, one.manifest, environment)
        except SteelyardError as error:
            return Finding(name, number, False, str(error))
        except MemoryError:
            return Finding(name, number, False, "out of memory")
        offered = loaded.spec if loaded.pipeline is None else loaded.pipeline.offered
        # Only what is to be shown is kept: the session, which may be large, goes here.
        return Finding(
            model=name,
            version=number,
            ok=True,
            digest=loaded.digest,
            signer=loaded.signer,
            device=loaded.device,
            inputs=tuple(map(_tensor, offered.inputs)),
            outputs=tuple(map(_tensor, offered.outputs)),
            batching=loaded.batching.allowed,
            batching_reason=loaded.batching.reason,
            ragged=loaded.ragged is not None,
            ragged_reason=loaded.ragged_reason,
            threads_reason=_cut_threads(one.manifest.serving.threads, threads),
            golden_failing=loaded.failing,
        )

    with ThreadPoolExecutor(settings.load_threads or threads, thread_name_prefix="check") as pool:
        yield from pool.map(load, work)


def _cut_threads(wanted_threads: int | None, budget: int) -> str:
    if wanted_threads is None or wanted_threads <= budget:
        return ""
    return f"model.toml asks for {wanted_threads}, {budget} are used, which is the thread budget (--threads)"


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.datatype}{list(tensor.dims)}"


def _progress(findings: Iterator[Finding], total: int, shown: bool) -> list[Finding]:
    """All findings, with a progress bar on stderr where people watch."""
    if not shown or not sys.stderr.isatty():
        return list(findings)
    from rich.console import Console
    from rich.progress import track

    bar = track(findings, "Loading versions", total=total, console=Console(stderr=True), transient=True)
    return list(bar)


def _print(findings: list[Finding], wrong: int) -> None:
    rows = []
    for finding in findings:
        if finding.ok:
            what = f"{', '.join(finding.inputs)} -> {', '.join(finding.outputs)}"
            may = "batched" if finding.batching else "unbatched"
            detail = f"{what}\n{may}: {finding.batching_reason}"
            if finding.ragged_reason:
                detail += f"\n{'ragged' if finding.ragged else 'not ragged'}: {finding.ragged_reason}"
            if finding.threads_reason:
                detail += f"\nthreads: {finding.threads_reason}"
            if finding.signer:
                detail += f"\nsigned by {finding.signer}"
            if finding.golden_failing:
                detail += f"\ngolden examples fail: {show_failing(finding.golden_failing)}"
        else:
            detail = finding.reason
        version = "" if finding.version is None else str(finding.version)
        state = "ok" if finding.ok else "WRONG"
        rows.append((finding.model, version, state, short_digest(finding.digest), finding.device, detail))
    columns = ("model", "version", "", "digest", "device", "what it is, or what is wrong")
    print_table(columns, rows, right=("version",))
    click.echo(
        f"{len(findings) - wrong} of {len(findings)} can be served" + (f", {wrong} wrong" if wrong else "")
    )
