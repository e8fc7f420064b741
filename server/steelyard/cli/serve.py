"""`steelyard serve`: a server, until it is told to stop."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from steelyard.cli.output import json_option, print_json
from steelyard.cli.settings import all_settings, resolved


@click.command(
    epilog="\b\nExample:\n  steelyard serve models/\n"
    "  steelyard serve models/ --grpc-address 0.0.0.0:8001 --http-address 0.0.0.0:8000 --profile production"
)
@all_settings
@json_option
def serve(config_file: Path | None, as_json: bool, **flags: Any) -> int:
    """Serve a model repository.

    Prints where it answers when it is ready, logs to stderr, and ends with SIGTERM or Ctrl-C when the
    requests that it has accepted are answered. Every option can stand in the file of --config and in the
    environment, as STEELYARD_ and its name; `steelyard config` shows what is in force.
    """
    from steelyard.supervisor.datadir import RunningServer
    from steelyard.supervisor.supervisor import supervise

    settings = resolved(config_file, flags).settings
    announced = False

    def ready(server: RunningServer) -> None:
        nonlocal announced
        # A worker that was started again is ready again, at the same addresses.
        if announced:
            return
        announced = True
        if as_json:
            print_json(asdict(server))
        else:
            where = [f"gRPC {', '.join(server.grpc_addresses)}"] if server.grpc_addresses else []
            if server.grpc_tls_addresses:
                where.append(f"gRPC with TLS {', '.join(server.grpc_tls_addresses)}")
            click.echo(f"Serving {server.repository}: {', '.join(where)}, HTTP {server.http_address}")

    asyncio.run(supervise(settings, ready))
    return 0
