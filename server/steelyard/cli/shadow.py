"""`steelyard shadow`: candidates that are asked what production is asked."""

import json
from pathlib import Path

import click

from steelyard.cli.asking import admin, reason_option, who
from steelyard.cli.events import document, moved
from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import settings_options
from steelyard.cli.shadow_worst import replay, worst
from steelyard.errors import ModelNotFound

# A candidate may take minutes to load; a calibration waits for traffic.
MARGIN_S = 60.0


@click.group(
    epilog="\b\nExample:\n  steelyard shadow calibrate prices --reason weekly --data models/.steelyard\n"
    '  steelyard shadow start prices --candidate 3 --sample 0.2 --reason "trained on October"\n'
    "  steelyard shadow status prices --data models/.steelyard"
)
def shadow() -> None:
    """Run a candidate beside production, and weigh its answers.

    A candidate is another version of the model, in a process of its own, or a server elsewhere. It gets a sample of
    the requests after they have been answered; callers get nothing of it. Every command of it takes --json.
    """


@shadow.command("start")
@click.argument("model")
@click.option(
    "--candidate",
    required=True,
    metavar="WHAT",
    help="A version (number, label, digest), or HOST:PORT or unix:/PATH.",
)
@click.option(
    "--sample",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="The share of decisions.",
)
@click.option(
    "--remote-model", default="", metavar="NAME", help="At the other server; not given: the same name."
)
@click.option(
    "--remote-version", default="", metavar="VERSION", help="At the other server; not given: its default."
)
@click.option("--tls", is_flag=True, help="Call the other server by TLS.")
@click.option(
    "--root-file", default="", metavar="FILE", help="Certificates to check the other server's against, PEM."
)
@click.option(
    "--certificate-file", default="", metavar="FILE", help="Our own certificate, PEM, with --key-file."
)
@click.option("--key-file", default="", metavar="FILE", help="The key of our own certificate, PEM.")
@click.option(
    "--token-file",
    default="",
    metavar="FILE",
    help="A bearer token for the other server; with --tls or unix: only.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=8, show_default=True, help="Most calls at once."
)
@reason_option
@settings_options("data")
@json_option
def start(
    model: str,
    candidate: str,
    sample: float,
    remote_model: str,
    remote_version: str,
    tls: bool,
    root_file: str,
    certificate_file: str,
    key_file: str,
    token_file: str,
    concurrency: int,
    reason: str,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Start to compare a candidate with MODEL's version in production.

    Returns when the candidate runs and requests are handed over to it. What decides is fixed then: rules, guardrails
    and tolerances are those of model.toml and of the last calibration at that moment.
    """
    from steelyard.addresses import parse_grpc_address
    from steelyard.wire.generated import admin as pb

    request = pb.StartShadowRequest(model=model, sample=sample, who=who(reason))
    if ":" in candidate and not candidate.startswith("sha256:"):
        try:
            parse_grpc_address(candidate)
        except ValueError as error:
            raise click.UsageError(f"--candidate {candidate}: {error}") from None
        files = (root_file, certificate_file, key_file, token_file)
        roots, certificate, key, token = (str(Path(file).absolute()) if file else "" for file in files)
        request.remote.CopyFrom(
            pb.Remote(
                address=candidate,
                model=remote_model,
                version=remote_version,
                tls=tls,
                root_file=roots,
                certificate_file=certificate,
                key_file=key,
                token_file=token,
                concurrency=concurrency,
            )
        )
    elif any((remote_model, remote_version, tls, root_file, certificate_file, key_file, token_file)):
        raise click.UsageError(
            f"--candidate {candidate}: options of a server elsewhere need HOST:PORT or unix:/PATH"
        )
    else:
        request.version = candidate
    with admin(config_file, data) as server:
        moved(server.call("StartShadow", request, pb.Event), as_json)


@shadow.command("stop")
@click.argument("model")
@click.option("--candidate", default="", metavar="WHAT", help="Which; not given: the only one.")
@reason_option
@settings_options("data")
@json_option
def stop(
    model: str, candidate: str, reason: str, config_file: Path | None, data: Path | None, as_json: bool
) -> None:
    """Stop to compare, at once."""
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        request = pb.StopShadowRequest(model=model, candidate=candidate, who=who(reason))
        moved(server.call("StopShadow", request, pb.Event), as_json)


@shadow.command("status")
@click.argument("model")
@settings_options("data")
@json_option
def status(model: str, config_file: Path | None, data: Path | None, as_json: bool) -> int:
    """Show how MODEL's shadows do, or how the last one did. Ends with 1 where a gate has found harm."""
    from steelyard.cli.shadow_status import print_ended, print_shadow
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        found = server.call("GetTrials", pb.GetTrialsRequest(model=model), pb.Trials)
    status = json.loads(found.status)
    shadows, last = status["shadows"], status["last_shadow"]
    if not shadows and last is None:
        raise ModelNotFound(f"model {model!r} has no shadow, and had none")
    if as_json:
        print_json({"shadows": shadows, "last": last})
    else:
        for one in shadows:
            print_shadow(one)
        if not shadows:
            print_ended(last)
    verdicts = [one["verdict"] for one in shadows] or [last["gate"]["verdict"] if "gate" in last else ""]
    return 1 if "harmful" in verdicts else 0


@shadow.command("calibrate")
@click.argument("model")
@click.option(
    "--requests", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="Asked again."
)
@click.option(
    "--timeout-s", type=click.FloatRange(1, 86_400), default=60.0, show_default=True, help="To wait for them."
)
@reason_option
@settings_options("data")
@json_option
def calibrate(
    model: str,
    requests: int,
    timeout_s: float,
    reason: str,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Learn how far MODEL's answers differ by themselves.

    Runs the version in production against itself, alone and in batches of other sizes, over live requests. The
    tolerances that come of it are those of `close` wherever model.toml gives none.
    """
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data, timeout_s + MARGIN_S) as server:
        request = pb.CalibrateRequest(
            model=model, requests=requests, timeout_ms=int(timeout_s * 1000), who=who(reason)
        )
        event = document(server.call("Calibrate", request, pb.Event))
    if as_json:
        print_json(event)
        return
    found = event["details"]
    click.echo(
        f"{model}: {found['requests']} requests asked again in {found['runs']} runs (event {event['sequence']})"
    )
    rows = [
        [name, f"{absolute:.3g}", f"{relative:.3g}"]
        for name, (absolute, relative) in found["tolerances"].items()
    ]
    print_table(["output", "absolute", "relative"], rows, right=["absolute", "relative"])
    if found["unlike"]:
        click.echo(f"{found['unlike']} runs gave something that cannot be compared by value")


shadow.add_command(worst)
shadow.add_command(replay)
