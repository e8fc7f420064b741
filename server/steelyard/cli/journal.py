"""`steelyard journal`: what is kept of decisions."""

import click

from steelyard.cli.journal_erase import erase
from steelyard.cli.journal_status import status


@click.group(
    epilog="\b\nExample:\n  steelyard journal status --data models/.steelyard\n"
    "  steelyard journal erase --key customer-17 --reason 'contract ended'"
)
def journal() -> None:
    """Look after what is kept of decisions.

    Every command of it takes --json.
    """


journal.add_command(status)
journal.add_command(erase)
