"""What commands share that ask a running server for a change."""

import getpass
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from steelyard.cli.settings import resolved
from steelyard.errors import Unavailable

if TYPE_CHECKING:
    from steelyard.client.admin import AdminClient

F = TypeVar("F", bound=Callable[..., Any])

# A move may have to load a version first.
TIMEOUT_S = 600.0


def reason_option(command: F) -> F:
    """The option --reason, which a change must have."""
    return click.option(
        "--reason", required=True, metavar="TEXT", help="Why; it is recorded with who and when."
    )(command)


def admin(config_file: Path | None, data: Path | None, timeout_s: float = TIMEOUT_S) -> "AdminClient":
    """The admin service of the server that has the data directory. Raises Unavailable where none is running."""
    from steelyard.client.admin import AdminClient
    from steelyard.supervisor.datadir import find_server

    settings = resolved(config_file, {"data": data}).settings
    if find_server(settings.data) is None:
        raise Unavailable(
            f"no server is running with the data directory {settings.data}: name the right one with --data"
        )
    return AdminClient(settings.data, timeout_s)


def who(reason: str) -> Any:
    """Who runs this command, as the system knows them, and why they do."""
    from steelyard.wire.generated import admin as pb

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        name = "unknown"
    return pb.Who(actor=f"{name}@{socket.gethostname()}", reason=reason)
