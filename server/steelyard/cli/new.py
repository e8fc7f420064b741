"""`steelyard new`: from an ONNX file to a model that is governed, golden-tested and served."""

import shlex
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.governed import governance_of, governance_options
from steelyard.cli.output import json_option, print_json
from steelyard.cli.pairs import by_name, shapes_by_name
from steelyard.cli.server import Reached, Way, asked_at, server_options
from steelyard.cli.settings import resolved, settings_options
from steelyard.errors import RepositoryError, SteelyardError, Unavailable
from steelyard.models.manifest import ModelManifest
from steelyard.models.names import name_problem
from steelyard.observe.logs import printable
from steelyard.supervisor.datadir import find_server

if TYPE_CHECKING:
    from steelyard.client.results import Result
    from steelyard.config import Settings
    from steelyard.models.golden import GoldenExample

DASHBOARD_FILE = "dashboard.json"
VERSION = 1


class Watch:
    """How long each step took, in seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.steps: dict[str, float] = {}

    def lap(self, step: str) -> None:
        """Notes the time since the last one as that of `step`."""
        now = time.monotonic()
        self.steps[step] = round(now - self._last, 3)
        self._last = now


@click.command(
    epilog="\b\nExample:\n  steelyard new churn churn.onnx --repository models/ --owner 'Churn, churn@example.org' \\\n"
    "    --developed-by 'Data Science' --validated-by 'Model Risk' --purpose 'Who may leave' \\\n"
    "    --retire-on 2027-12-31 --input 'x=[[0.2, 1, 3]]'"
)
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@governance_options
@click.option(
    "--input",
    "given",
    metavar="NAME=VALUE",
    multiple=True,
    help="An input of the first golden example, as for `steelyard infer`; none given: one is made up.",
)
@click.option("--shape", "shapes", metavar="NAME=DIMS", multiple=True, help="An input's shape, such as 1,16.")
@click.option(
    "--repository",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    show_default=True,
    help="The model repository; made if it is not there.",
)
@click.option(
    "--dashboard",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Where the Grafana dashboard is written; not given: {DASHBOARD_FILE} in the model's directory.",
)
@click.option(
    "--wait-s",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="How long a running server may take to load the model, and to answer.",
)
@server_options(address=False)
@settings_options("data", "model_signers")
@json_option
def new(
    name: str,
    file: Path,
    given: Sequence[str],
    shapes: Sequence[str],
    repository: Path,
    dashboard: Path | None,
    wait_s: float,
    way: Way,
    config_file: Path | None,
    data: Path | None,
    model_signers: Path | None,
    as_json: bool,
    **governance: Any,
) -> None:
    """Take an ONNX file to a governed, served model.

    Loads it first, apart from any server, as one in profile production would: what that refuses is refused here, and
    nothing is published. Then puts it into the repository with model.toml, a first golden example and a Grafana
    dashboard. Where a server runs over the repository, has it load the model and asks it the example once.
    """
    flags = {"repository": repository, "data": data, "model_signers": model_signers}
    settings = resolved(config_file, flags).settings
    manifest = ModelManifest(governance=governance_of(governance))
    values, dims = by_name(given, "--input"), shapes_by_name(shapes)
    if dims and not values:
        raise click.UsageError("--shape: expected --input too")
    target = dashboard or repository / name / DASHBOARD_FILE
    _check_places(name, repository, dashboard)
    server = _server(settings, repository, way)

    from steelyard.models.add import add_version
    from steelyard.models.digest import version_digest
    from steelyard.observe.dashboard import dashboard as drawn

    watch = Watch()
    example = _tried(name, file, repository, manifest, settings, values, dims)
    watch.lap("tried")
    path = add_version(repository, name, file, version=VERSION, model=manifest, golden=[example])
    _write(target, drawn(name))
    watch.lap("published")
    done = {
        "model": name,
        "version": VERSION,
        "path": str(path),
        "digest": version_digest(path),
        "governance": manifest.governance.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
        "golden": {"path": str(path / "golden" / example.name), "made_up": not values},
        "dashboard": str(target),
        "evidence": manifest.evidence.mode,
    }
    if server is None:
        served: dict[str, Any] = {"server": None, "serve": _serve_command(repository, data)}
    else:
        result = _first_answer(server, name, example, wait_s, settings, watch)
        served = {
            "server": server.address,
            "decision_id": result.decision_id,
            "explain": f"steelyard explain {result.decision_id} --data {shlex.quote(str(settings.data))}",
        }
    document = {**done, **served, "seconds": watch.steps}
    if as_json:
        print_json(document)
    else:
        _print(document, settings)


def _check_places(name: str, repository: Path, dashboard: Path | None) -> None:
    """Raises RepositoryError where the model is there already, or the dashboard cannot come where it is wanted."""
    if problem := name_problem(name):
        raise RepositoryError(problem)
    if (repository / name).exists():
        raise RepositoryError(
            f"{repository / name}: is there already; steelyard add adds a version to a model that is there"
        )
    if dashboard is not None and dashboard.exists():
        raise RepositoryError(f"--dashboard {dashboard}: is there already")
    if dashboard is not None and not dashboard.parent.is_dir():
        raise RepositoryError(f"--dashboard {dashboard}: expected a directory at {dashboard.parent}")


def _server(settings: "Settings", repository: Path, way: Way) -> Reached | None:
    """The running server, if there is one. Raises RepositoryError where that serves another repository."""
    server = find_server(settings.data)
    if server is None:
        return None
    if Path(server.repository).resolve() != repository.resolve():
        raise RepositoryError(
            f"{repository}: the server with the data directory {settings.data} serves {server.repository}"
        )
    return asked_at(server, way)


def _tried(
    name: str,
    file: Path,
    repository: Path,
    manifest: ModelManifest,
    settings: "Settings",
    values: Mapping[str, str],
    dims: Mapping[str, tuple[int, ...]],
) -> "GoldenExample":
    """The version's first golden example, made where no server sees it, by loading it as a production server does."""
    from steelyard.cli.first_example import FirstExample
    from steelyard.models.add import add_version
    from steelyard.runtime.threads import thread_budget
    from steelyard.serving.loading import Environment, load_version
    from steelyard.serving.verdicts import Verdicts
    from steelyard.supervisor.supervisor import runtime_version

    runtime_version()
    # Beside where it is to come and hidden, since a large model may not fit elsewhere.
    beside = repository if repository.is_dir() else repository.parent
    try:
        apart = tempfile.TemporaryDirectory(prefix=".trying-", dir=beside)
    except OSError as error:
        raise RepositoryError(f"{beside}: cannot be written: {error.strerror}") from None
    with apart as place:
        path = add_version(Path(place), name, file, model=manifest)
        threads = settings.threads or thread_budget()
        loaded = load_version(
            name,
            path,
            manifest,
            Environment(
                threads,
                "production",
                Verdicts(None),
                settings.inline_threshold_us * 1000,
                signers=settings.model_signers,
            ),
        )
        first = FirstExample(name, str(VERSION), loaded)
        return first.of_given(values, dims, settings.max_message_bytes) if values else first.of_made_up()


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise RepositoryError(f"{path}: cannot be written: {error.strerror}") from None


def _first_answer(
    server: Reached, name: str, example: "GoldenExample", wait_s: float, settings: "Settings", watch: Watch
) -> "Result":
    from steelyard.cli.first_answer import Newcomer

    try:
        with Newcomer(server, name, wait_s, settings.max_message_bytes) as newcomer:
            newcomer.load()
            watch.lap("loaded")
            result = newcomer.ask(example)
            watch.lap("answered")
            return result
    except SteelyardError as error:
        raise Unavailable(
            f"model {name!r} is in the repository, but the server at {server.address} does not answer: {error}"
        ) from None


def _serve_command(repository: Path, data: Path | None) -> str:
    words = ["steelyard", "serve", str(repository), "--profile", "production"]
    return shlex.join(words if data is None else [*words, "--data", str(data)])


def _print(done: Mapping[str, Any], settings: "Settings") -> None:
    governance, golden = done["governance"], done["golden"]
    lines = [
        f"{done['model']} version {done['version']}: {done['path']} ({done['digest']})",
        f"  owned by {governance['owner']}, validated by {governance['validated_by']}",
        f"  serves until {governance['retire_on']}",
        f"  golden example {golden['path']}",
    ]
    if golden["made_up"]:
        lines.append(
            "    its inputs are made up: record a real request in its place (steelyard golden record)"
        )
    lines += [f"  Grafana dashboard {done['dashboard']}", f"  evidence {done['evidence']}"]
    if done["server"] is None:
        lines += [f"No server is running with the data directory {settings.data}:", f"  {done['serve']}"]
    else:
        lines += [
            f"The server at {done['server']} answered the example, decision {done['decision_id']}:",
            f"  {done['explain']}",
        ]
    steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in done["seconds"].items())
    lines.append(f"{sum(done['seconds'].values()):.1f} s: {steps}")
    click.echo("\n".join(map(printable, lines)))
