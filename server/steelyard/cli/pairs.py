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


def shapes_by_name(options: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of --shape NAME=DIMS by name. Raises click.UsageError as `by_name`, and for what is no shape."""
    return {name: _dims(name, text) for name, text in by_name(options, "--shape").items()}


def _dims(name: str, text: str) -> tuple[int, ...]:
    try:
        dims = tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        dims = (-1,)
    if any(dim < 0 for dim in dims):
        raise click.UsageError(f"--shape {name}={text}: expected dimensions such as 1,16")
    return dims
