"""`steelyard restart`: new worker processes in the place of the old ones, one after the other."""

from pathlib import Path

import click

from steelyard.cli.asking import admin, who
from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import settings_options


@click.command(epilog="\b\nExample:\n  steelyard restart --data models/.steelyard")
@settings_options("data")
@json_option
def restart(config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """Replace a server's worker processes, one after the other.

    A new process loads all models beside the one that serves, takes its place when it is ready, and only then the old
    one sends its callers over, answers what they have begun, and ends: no call fails. While both are there, they need
    the memory of two. Settings and the server's own process stay as they are. SIGHUP to the server does the same.
    """
    from steelyard.wire.generated import admin as pb

    with admin(config_file, data) as server:
        request = pb.RestartWorkersRequest(actor=who("").actor)
        replaced = server.call("RestartWorkers", request, pb.RestartWorkersResponse).replaced
    if as_json:
        print_json(
            [
                {
                    "worker": one.worker,
                    "before_pid": one.before_pid,
                    "pid": one.pid,
                    "took_s": one.took_ms / 1000,
                }
                for one in replaced
            ]
        )
        return
    rows = [
        (str(one.worker), str(one.before_pid), str(one.pid), f"{one.took_ms / 1000:.1f}") for one in replaced
    ]
    print_table(("worker", "process before", "process", "seconds"), rows)
