"""`python -m load`: the command line."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from load.capacity import capacity
from load.example import SCENARIO, example_server
from load.extras import require_installed
from load.measure import measure
from load.mlperf import mlperf
from load.printed import print_capacity, print_mlperf, print_result
from load.progress import shown
from load.report import report_html, require_report
from load.scenario import Scenario, read_scenario
from steelyard.cli.main import status_of
from steelyard.cli.output import json_option, print_json
from steelyard.cli.server import Reached, Way, server_of, server_options
from steelyard.cli.settings import resolved, settings_options
from steelyard.config import Settings
from steelyard.errors import ConfigError
from steelyard.supervisor.datadir import find_server

FILE = click.Path(dir_okay=False, path_type=Path)
LOCUSTFILE = Path(__file__).with_name("locustfile.py")
FOUND_WRONG = 1
NOWHERE = Way(None, False, None, None, None)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Load on a server: sent when it is due, measured from then, and reported."""


@commands.command(
    epilog="\b\nExample:\n"
    "  python -m load run load/scenarios/example.toml --data models/.steelyard --html report.html\n"
    "  python -m load run mix.toml --address 10.0.0.7:8001 --http 10.0.0.7:8000 --json"
)
@click.argument("scenario", type=FILE)
@click.option("--http", metavar="ADDRESS", help="Where the server's metrics are; not given: as --data says.")
@click.option("--html", type=FILE, help="Write the report here.")
@click.option("--result", type=FILE, help="Write the result as JSON here.")
@server_options()
@settings_options("data")
@json_option
def run(
    scenario: Path,
    http: str | None,
    html: Path | None,
    result: Path | None,
    way: Way,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Send a scenario's load to a server.

    Ends with 1 where the server answers requests that were sent bad.
    """
    wanted = read_scenario(scenario)
    settings = resolved(config_file, {"data": data}).settings
    return _run(wanted, server_of(way, settings), way, http or _http(way, settings), html, result, as_json)


@commands.command()
@click.option("--html", type=FILE, default=Path(".load/report.html"), show_default=True)
@click.option("--result", type=FILE, default=Path(".load/result.json"), show_default=True)
@json_option
def example(html: Path, result: Path, as_json: bool) -> int:
    """Serve a small model, send it every kind of arrival, and write the report."""
    for file in (html, result):
        file.parent.mkdir(parents=True, exist_ok=True)
    require_report()
    with example_server() as data:
        settings = Settings(data=data)
        server = server_of(NOWHERE, settings)
        return _run(read_scenario(SCENARIO), server, NOWHERE, _http(NOWHERE, settings), html, result, as_json)


@commands.command()
@click.argument("result", type=FILE)
@click.argument("html", type=FILE)
def report(result: Path, html: Path) -> None:
    """Make the report of a result that `run --result` has written."""
    require_report()
    try:
        page = report_html(json.loads(result.read_text()))
    except LookupError as error:
        raise ConfigError(
            f"{result}: expected the JSON that `run --result` writes, came JSON without {error.args[0]!r}"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{result}: expected the JSON that `run --result` writes: {error}") from None
    html.write_text(page)


@commands.command("capacity")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--connections", type=click.IntRange(1, 1024), default=4, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(0.2, 600), default=2.0, show_default=True, help="Of each rate."
)
@click.option("--most", type=click.FloatRange(100, 1e7), default=200_000.0, help="The highest rate to try.")
@json_option
def capacity_command(processes: int, connections: int, seconds: float, most: float, as_json: bool) -> None:
    """Find what the load itself can send, to a server that answers everything with the same bytes."""
    found = capacity(processes, connections, seconds, most)
    if as_json:
        print_json(found)
    else:
        print_capacity(found)


@commands.command(
    "mlperf",
    epilog="\b\nExample:\n  python -m load mlperf load/scenarios/example.toml server --qps 500 --latency-ms 20 "
    "--data models/.steelyard\n"
    "  python -m load mlperf load/scenarios/example.toml offline --qps 3000 --address 127.0.0.1:8001",
)
@click.argument("scenario", type=FILE)
@click.argument("kind", type=click.Choice(("server", "offline")))
@click.option("--qps", type=click.FloatRange(0.1, 1e6), required=True, help="Samples a second to ask for.")
@click.option(
    "--latency-ms",
    type=click.FloatRange(0.01, 1e6),
    default=50.0,
    show_default=True,
    help="server: the bound.",
)
@click.option("--percentile", type=click.FloatRange(50, 99.99), default=99.0, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1, 86_400), default=10.0, show_default=True)
@click.option(
    "--logs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".load/mlperf"),
    show_default=True,
    help="Where LoadGen writes what it logs.",
)
@server_options()
@settings_options("data")
@json_option
def mlperf_command(
    scenario: Path,
    kind: str,
    qps: float,
    latency_ms: float,
    percentile: float,
    seconds: float,
    logs: Path,
    way: Way,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Have MLPerf's LoadGen load a server over the wire, with the requests of a scenario.

    Ends with 1 where LoadGen calls the run invalid, or a request failed.
    """
    wanted = read_scenario(scenario)
    server = server_of(way, resolved(config_file, {"data": data}).settings)
    found = mlperf(wanted, server, kind, qps, latency_ms, percentile, seconds, logs)
    if as_json:
        print_json(found)
    else:
        print_mlperf(found)
    return 0 if found["valid"] and not found["failed"] else FOUND_WRONG


@commands.command(
    "locust",
    context_settings={"ignore_unknown_options": True},
    epilog="\b\nExample:\n"
    "  python -m load locust load/scenarios/example.toml --data models/.steelyard\n"
    "  python -m load locust load/scenarios/example.toml --address 127.0.0.1:8001 "
    "--headless --users 50 --spawn-rate 10 --run-time 30s",
)
@click.argument("scenario", type=FILE)
@server_options()
@settings_options("data")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def locust_command(
    scenario: Path, way: Way, config_file: Path | None, data: Path | None, arguments: tuple[str, ...]
) -> int:
    """Have users of Locust ask with the requests of a scenario.

    Everything else is handed on to Locust, which has a web page (port 8089) unless it is told --headless.
    """
    require_installed("locust", "Locust")
    read_scenario(scenario)
    if way.tls:
        raise ConfigError("--tls: expected without, as Locust's users speak no TLS")
    server = server_of(way, resolved(config_file, {"data": data}).settings)
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", server.address]
    return subprocess.run([*command, "--scenario", str(scenario), *arguments], check=False).returncode


def _run(
    scenario: Scenario,
    server: Reached,
    way: Way,
    http: str | None,
    html: Path | None,
    result: Path | None,
    as_json: bool,
) -> int:
    if html is not None:
        require_report()
    for file in (html, result):
        if file is not None and not file.parent.is_dir():
            raise ConfigError(f"{file}: expected a directory to write it to, and there is no {file.parent}")
    with nullcontext(None) if as_json else shown() as progress:
        found = measure(scenario, server, way, http, progress)
    if result is not None:
        result.write_text(json.dumps(found, allow_nan=False))
    if html is not None:
        html.write_text(report_html(found))
    if as_json:
        print_json(found)
    else:
        print_result(found)
        for file in (result, html):
            if file is not None:
                click.echo(f"written: {file}")
    return FOUND_WRONG if found["bad"]["accepted"] else 0


def _http(way: Way, settings: Settings) -> str | None:
    """Where the metrics of the server are, where it is the one of the data directory."""
    running = find_server(settings.data) if way.address is None else None
    return None if running is None else running.http_address


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command that `arguments` (None: the process's) name; returns the exit code."""
    return status_of(commands, "python -m load", arguments)


if __name__ == "__main__":
    sys.exit(main())
