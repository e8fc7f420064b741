"""`steelyard tune`: how a model is served best on this machine."""

import json
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.output import json_option, print_json
from steelyard.cli.settings import resolved, settings_options

if TYPE_CHECKING:
    from steelyard.client import ModelMetadata
    from steelyard.tune.run import Tuned

DONE = 0
NOTHING_MEETS_IT = 1

# Fewer, and most measurements would see a dozen requests.
LEAST_SECONDS = 5

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s)?")
_IN_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, None: 1.0}


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time such as 20ms, in milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(str(value).strip())
        found = float(match[1]) * _IN_MS[match[2]] if match is not None else 0.0
        if not 0 < found <= 3_600_000:
            self.fail(f"expected a time such as 500us, 20ms or 1s, got {value!r}", param, ctx)
        return found


@click.command(
    epilog="\b\nExample:\n  steelyard tune classifier --p99 20ms --repository models/\n"
    "  steelyard tune classifier --p99 20ms --repository models/ --input rows.json --no-write --json"
)
@click.argument("model")
@click.option(
    "--p99",
    "p99_ms",
    type=Duration(),
    required=True,
    metavar="TIME",
    help="What 99 in 100 requests may take, such as 20ms.",
)
@click.option(
    "--input",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Requests to measure with: JSON, an object of inputs by name or a list of such; not given: golden examples, "
    "else made-up rows.",
)
@click.option(
    "--repository",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The model repository; not given: the settings'.",
)
@click.option(
    "--seconds",
    type=click.IntRange(min=LEAST_SECONDS, max=3600),
    default=120,
    show_default=True,
    help="What measuring may take; loading comes on top.",
)
@click.option(
    "--write/--no-write",
    default=True,
    show_default=True,
    help="Write the choice into model.toml, and the evidence beside it.",
)
@click.option(
    "--picture",
    metavar="FILE.svg",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the frontier here too.",
)
@settings_options("threads")
@json_option
def tune(
    model: str,
    p99_ms: float,
    file: Path | None,
    repository: Path | None,
    seconds: int,
    write: bool,
    picture: Path | None,
    config_file: Path | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Find out how a model is served best on this machine.

    Serves the model in several ways at once, by a server of its own, and asks each in turn: how many instances of how
    many threads, how large batches may be, how long they may wait, which options of the session that keep its
    precision. Chooses what serves the most requests, come at random, with 99 in 100 answered within --p99. Shut down
    what else works on the machine first. Ends with 1 where nothing meets the p99.
    """
    settings = resolved(config_file, {"repository": repository, "threads": threads}).settings

    from steelyard.cli.tune_shown import print_tuned
    from steelyard.demo.progress import Shown, Silent
    from steelyard.runtime.threads import thread_budget
    from steelyard.tune.picture import svg
    from steelyard.tune.run import tune as run

    limit = settings.max_message_bytes

    def read(metadata: "ModelMetadata") -> Sequence[Mapping[str, Any]]:
        assert file is not None
        return _inputs(file, model, metadata, limit)

    # Whoever ends the command ends its server with it: as Ctrl-C does, which the event loop takes between two calls.
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        tuned = run(
            settings.repository,
            model,
            settings.threads or thread_budget(),
            p99_ms,
            seconds,
            None if file is None else read,
            str(file),
            Silent() if as_json else Shown(),
            limit,
            write,
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    written = _write(tuned) if write and tuned.found.chosen is not None else []
    if picture is not None:
        title = f"{model} version {tuned.version}: throughput and p99"
        picture.write_text(svg(title, tuned.found.points, tuned.found.chosen, p99_ms))
        written.append(picture)
    if as_json:
        _print_document(tuned, written)
    else:
        print_tuned(tuned, written)
    return DONE if tuned.found.chosen is not None else NOTHING_MEETS_IT


def _inputs(file: Path, model: str, metadata: "ModelMetadata", limit: int) -> list[Mapping[str, Any]]:
    from steelyard.cli.inputs import InputReader, parsed

    reader = InputReader(model, metadata.inputs, {}, limit)
    document = parsed(reader.read(file), str(file))
    requests = document if isinstance(document, list) else [document]
    if not requests:
        raise click.UsageError(f"{file}: expected at least one request")
    return [reader.from_object(request, str(file)) for request in requests]


def _write(tuned: "Tuned") -> list[Path]:
    """Writes the choice and its evidence; returns the files."""
    import datetime

    from steelyard.tune.document import EVIDENCE_FILE, PICTURE_FILE, evidence
    from steelyard.tune.edit import differing, edited, write_over
    from steelyard.tune.picture import svg

    found = tuned.found
    assert found.chosen is not None
    changed = differing(found.chosen.candidate, tuned.base)
    text = edited(tuned.manifest_text, changed)
    document = evidence(tuned, datetime.datetime.now(datetime.UTC))
    directory = tuned.model.path
    beside = {
        directory / EVIDENCE_FILE: json.dumps(document, indent=1) + "\n",
        directory / PICTURE_FILE: svg(
            f"{tuned.model.name} version {tuned.version}: throughput and p99",
            found.points,
            found.chosen,
            tuned.p99_ms,
        ),
    }
    for path, content in beside.items():
        write_over(path, path.read_text() if path.exists() else "", content)
    write_over(tuned.model.manifest_path, tuned.manifest_text, text)
    return [tuned.model.manifest_path, *beside]


def _print_document(tuned: "Tuned", written: list[Path]) -> None:
    import datetime

    from steelyard.tune.document import evidence

    document = evidence(tuned, datetime.datetime.now(datetime.UTC))
    print_json({"ok": tuned.found.chosen is not None, **document, "written": list(map(str, written))})
