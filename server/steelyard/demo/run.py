"""A run of the demonstration, from the model to the figures."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steelyard.client.admin import AdminClient
from steelyard.demo.corpus import default_roots, find_files
from steelyard.demo.features import FeatureSpec
from steelyard.demo.figures import Agreement, Difference, Figures
from steelyard.demo.progress import Progress
from steelyard.demo.questions import Question, choose
from steelyard.demo.reference import Reference
from steelyard.demo.repository import AS_PACKAGED, MODEL, QUANTIZED, calibrated_on, prepare
from steelyard.demo.server import ServerProcess, refuse_second, signals_held_back
from steelyard.demo.stages import account_of, fetch_metrics
from steelyard.demo.traffic import TIMEOUT_S, ask_all
from steelyard.demo.trial import Administration, Trial, try_challenger
from steelyard.errors import ConfigError
from steelyard.supervisor.datadir import RunningServer

NEEDED = ("magika", "onnx")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's end."""

    figures: Figures
    trial: Trial
    server: RunningServer
    kept: bool
    """Whether the server is still up."""
    sample: str
    """A file to ask a kept server about."""


def run(directory: Path, files: int, shadow_files: int, keep: bool, progress: Progress) -> Outcome:
    """Serves the model out of `directory`, asks it about `files` files, version 2 about half of them, and then tries
    version 2 as a shadow of version 1 over `shadow_files` files, fewer if the gate has decided.

    directory: is made where it is missing, and used again where it is there.
    keep: leaves the server up, unless something goes wrong.

    Raises ConfigError where a package is missing, Unavailable where the server does not come up or an earlier one
    is still there, and what a request that fails raises.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the demo needs {' and '.join(missing)}: pip install 'steelyard[demo]'")
    data = directory / "data"
    refuse_second(data)
    spec = FeatureSpec.packaged()
    roots = default_roots()
    repository = prepare(directory, spec, roots, progress.say)
    progress.say("looking for files")
    found = choose(find_files(roots, calibrated_on(directory)), spec, max(files, shadow_files))
    asked, tried = found.asked[:files], found.asked[:shadow_files]
    if not asked:
        raise ConfigError(f"no readable file for the model below {', '.join(map(str, roots))}")
    reference = Reference()
    with progress.bar("asking the magika package", len(asked)) as advance:
        expected = reference.labels(asked, advance)
    progress.say("starting steelyard serve")
    server: ServerProcess | None = None
    kept = False
    try:
        with signals_held_back():
            server = ServerProcess(repository, data, directory / "server.log")
        running = server.wait_ready()
        with AdminClient(data, TIMEOUT_S) as client:
            Administration(client).challenge()
        figures = _ask(running, asked, found.too_small, expected, reference, progress)
        trial = try_challenger(running.grpc_address, data, tried, spec.labels, progress)
        kept = keep
    finally:
        if server is not None and not kept:
            server.stop()
    return Outcome(figures, trial, running, kept, asked[0].file.path)


def _ask(
    running: RunningServer,
    questions: Sequence[Question],
    too_small: int,
    expected: Sequence[str],
    reference: Reference,
    progress: Progress,
) -> Figures:
    half = questions[: (len(questions) + 1) // 2]
    with progress.bar("asking version 1", len(questions)) as advance:
        packaged = ask_all(running.grpc_address, AS_PACKAGED, questions, advance)
    with progress.bar("asking version 2", len(half)) as advance:
        quantized = ask_all(running.grpc_address, QUANTIZED, half, advance)
    page = fetch_metrics(running.http_address)
    confirmed = reference.confirmed(questions, expected, packaged.labels)
    return Figures(
        too_small=too_small,
        packaged=packaged,
        packaged_account=account_of(page, MODEL, packaged.version),
        against_magika=_agreement(questions, confirmed, packaged.labels),
        near_ties=sum(one != other for one, other in zip(expected, confirmed, strict=True)),
        quantized=quantized,
        quantized_account=account_of(page, MODEL, quantized.version),
        against_packaged=_agreement(half, packaged.labels[: len(half)], quantized.labels),
    )


def _agreement(questions: Sequence[Question], expected: Sequence[str], came: Sequence[str]) -> Agreement:
    differences = [
        Difference(question.file.path, one, other)
        for question, one, other in zip(questions, expected, came, strict=True)
        if one != other
    ]
    return Agreement(len(questions), tuple(differences))
