"""`steelyard shadow worst` and `replay`: the disagreements that a shadow has kept, and running them again."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import resolved, settings_options
from steelyard.errors import ModelNotFound
from steelyard.observe.logs import printable

WHY_CHARS = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """A shadow's event, and the file of what it kept."""

    model: str
    details: Mapping[str, Any]
    file: Path


@click.command("worst")
@click.argument("model")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="The most severe."
)
@settings_options("data")
@json_option
def worst(model: str, limit: int, config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """Show the worst disagreements that shadows of MODEL have kept.

    On a server that runs or has been stopped. Each can be run again by its decision id.
    """
    from steelyard.rollout.disagreement_file import DisagreementsReader
    from steelyard.rollout.trials import name_of

    found: list[dict[str, Any]] = []
    for kept in kept_of(resolved(config_file, {"data": data}).settings.data, model):
        with DisagreementsReader(kept.file) as reader:
            found += [
                {
                    "decision_id": one.decision_id,
                    "candidate": name_of(kept.details["candidate"]),
                    "severity": _finite(one.severity),
                    "grade": one.grade,
                    "broken": list(one.broken),
                    "why": one.about.get("why", {}),
                    "bytes": one.bytes,
                }
                for one in reader.list(kept.details["key"])
            ]
    found.sort(key=lambda one: -(one["severity"] if one["severity"] is not None else float("inf")))
    if as_json:
        print_json({"disagreements": found[:limit]})
        return
    rows = [
        [
            one["decision_id"],
            one["candidate"],
            one["grade"],
            "" if one["severity"] is None else f"{one['severity']:.2f}",
            ", ".join(one["broken"]),
            printable("; ".join(one["why"].values())[:WHY_CHARS]),
        ]
        for one in found[:limit]
    ]
    print_table(["decision", "candidate", "grade", "severity", "broken", "why"], rows, right=["severity"])


@click.command("replay")
@click.argument("model")
@click.argument("decision_id")
@click.option(
    "--repository",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the versions are; not given: the settings', else the running server's.",
)
@settings_options("data")
@json_option
def replay(
    model: str,
    decision_id: str,
    repository: Path | None,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Run a request on which MODEL's versions disagreed again, by both.

    The versions are loaded here, from the repository; a server that runs is not asked, a candidate elsewhere is. Ends
    with 1 where they disagree again.
    """
    from steelyard.cli.models import repository_of
    from steelyard.models.manifest import MODEL_MANIFEST, read_model_manifest
    from steelyard.rollout.comparison import compile_rules
    from steelyard.rollout.disagreement_file import DisagreementsReader
    from steelyard.rollout.trials import is_elsewhere
    from steelyard.shadow import replay as again
    from steelyard.shadow.candidate import Candidate
    from steelyard.shadow.local import LocalCandidate
    from steelyard.shadow.remote import RemoteCandidate
    from steelyard.shadow.task import RemoteTarget
    from steelyard.supervisor.datadir import find_server

    found = resolved(config_file, {"repository": repository, "data": data})
    for kept in kept_of(found.settings.data, model):
        with DisagreementsReader(kept.file) as reader:
            disagreement = reader.get(decision_id)
        if disagreement is not None:
            break
    else:
        raise ModelNotFound(
            f"model {model!r}: no shadow has kept a disagreement over decision {decision_id[:80]!r}"
        )
    running = find_server(found.settings.data) if found.origins["repository"] == "default" else None
    root = repository_of(found) if running is None else Path(running.repository)
    manifest = read_model_manifest(root / model / MODEL_MANIFEST)
    plan, described = kept.details["plan"], kept.details["candidate"]
    number = kept.details["primary"]["version"]
    primary = LocalCandidate(model, number, root / model / str(number), manifest)
    candidate: Candidate
    if not is_elsewhere(described):
        number = described["version"]
        candidate = LocalCandidate(model, number, root / model / str(number), manifest)
    else:
        target = RemoteTarget.model_validate(described)
        candidate = RemoteCandidate(target, plan["shadow"]["timeout_s"], found.settings.max_message_bytes)
    rollout = type(manifest.rollout).model_validate({"compare": plan["compare"]}, strict=False)
    tolerances = {name: (both[0], both[1]) for name, both in plan["tolerances"].items()}
    comparison = compile_rules(rollout.compare, primary.offered.outputs, tolerances)
    with contextlib.closing(primary), contextlib.closing(candidate):
        result = again.replay(disagreement, primary, candidate, comparison, primary.offered.batched)
    digests = {
        "primary": (kept.details["primary"]["digest"], primary.digest),
        # A server elsewhere may have had other content by the time of this answer than at the start.
        "candidate": (
            described.get("digest") or disagreement.listed.about.get("candidate", ""),
            candidate.digest,
        ),
    }
    document = {
        "decision_id": disagreement.listed.decision_id,
        "severity": _finite(disagreement.listed.severity),
        "broken": list(disagreement.listed.broken),
        "now": _pair(result.between),
        "primary": _pair(result.primary),
        "candidate": _pair(result.candidate),
        "errors": {"primary": result.primary_error, "candidate": result.candidate_error},
        "other_content": [side for side, (then, now) in digests.items() if then and now and then != now],
        "reproduced": result.is_reproduced,
    }
    if as_json:
        print_json(document)
    else:
        _print(document)
    return 1 if result.is_reproduced else 0


def kept_of(data: Path, model: str) -> Sequence[Kept]:
    """The shadows of a model whose disagreements are still there, the last one first."""
    from steelyard.evidence.log import EVENTS_FILE, read_events
    from steelyard.rollout.trials import SHADOW_STARTED

    found = []
    for event in reversed(read_events(data / EVENTS_FILE).events):
        if event.kind == SHADOW_STARTED and event.model == model:
            file = data / "shadows" / f"{event.details['key']}.sqlite"
            if file.is_file():
                found.append(Kept(model, event.details, file))
    if not found:
        raise ModelNotFound(f"model {model!r}: no shadow has kept anything in {data}")
    return found


def _pair(pair: Any) -> dict[str, Any] | None:
    if pair is None:
        return None
    return {
        "agrees": pair.agrees,
        "severity": _finite(pair.severity),
        "broken": list(pair.broken),
        "why": dict(pair.why),
        "error": {name: error.max_absolute for name, error in pair.error.items()},
    }


def _finite(severity: float) -> float | None:
    """None stands for the worst there is: what cannot be compared."""
    return severity if severity != float("inf") else None


def _print(document: Mapping[str, Any]) -> None:
    lines = [
        f"{document['decision_id']}: disagreed by {', '.join(document['broken'])}",
        f"the primary's new answer beside its old one: {_told(document['primary'], document['errors']['primary'])}",
        "the candidate's new answer beside its old one: "
        + _told(document["candidate"], document["errors"]["candidate"]),
        f"both now: {_told(document['now'], document['errors']['candidate'] or document['errors']['primary'])}",
    ]
    lines += [f"the {side} has other content than then" for side in document["other_content"]]
    for line in lines:
        click.echo(printable(line))


def _told(pair: Mapping[str, Any] | None, error: str) -> str:
    if pair is None:
        return f"nothing to compare{': ' + error if error else ''}"
    if pair["agrees"]:
        return "equal within the rules"
    why = "; ".join(pair["why"].values())
    return f"differs by {', '.join(pair['broken'])}{': ' + why if why else ''}"
