"""`steelyard demo`: a real model, served and asked about real files."""

import signal
from pathlib import Path

import click

from steelyard.cli.output import json_option, print_json

DONE = 0
FOUND_WRONG = 1


@click.command(
    epilog="\b\nExample:\n  steelyard demo\n  steelyard demo --keep\n  steelyard demo --files 1000 --json"
)
@click.option(
    "--files", type=click.IntRange(min=2), default=320, show_default=True, help="How many to ask about."
)
@click.option(
    "--shadow-files",
    type=click.IntRange(min=2),
    default=1500,
    show_default=True,
    help="How many, at most, to try version 2 on.",
)
@click.option("--keep", is_flag=True, help="Leave the server up, and say how to ask it something.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".demo"),
    show_default=True,
    help="Where the model repository is made; used again when it is there.",
)
@json_option
def demo(files: int, shadow_files: int, keep: bool, directory: Path, as_json: bool) -> int:
    """Serve a real model and ask it about real files.

    Makes a repository of the file-type model in the package magika, as it is and quantized to eight bits, serves
    it in a process of its own, asks it about files of this machine, tries the quantized version as a shadow of the
    packaged one, and prints what happened and what the gate says. Ends with 1 where
    an answer is not what magika itself says.
    """
    from steelyard.demo.progress import Shown, Silent
    from steelyard.demo.report import print_outcome
    from steelyard.demo.run import run

    # Whoever ends the demo ends its server with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcome = run(directory, files, shadow_files, keep, Silent() if as_json else Shown())
    if as_json:
        server = {
            "grpc_address": outcome.server.grpc_address,
            "http_address": outcome.server.http_address,
            "pid": outcome.server.pid,
        }
        print_json(
            {
                **outcome.figures.document(),
                "trial": outcome.trial.document(),
                "server": server if outcome.kept else None,
            }
        )
    else:
        print_outcome(outcome, directory)
    return DONE if outcome.figures.right else FOUND_WRONG
