"""Options of the form NAME=VALUE, given as often as there are names."""

from collections.abc import Sequence

import click


def by_name(options: Sequence[str], flag: str) -> dict[str, str]:
    """Their values by name. Raises click.UsageError for what has no name, and for a name given twice."""
    found: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{flag} {option}: expected NAME=VALUE")
        if name in found:
            raise click.UsageError(f"{flag}: {name!r} is given twice")
        found[name] = value
    return found
