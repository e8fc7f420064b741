"""`steelyard config`: the settings in force, and where each came from."""

from pathlib import Path
from typing import Any

import click

from steelyard.cli.output import json_option, print_json, print_table
from steelyard.cli.settings import all_settings, resolved, spelled


@click.command(
    epilog="\b\nExample:\n  steelyard config models/ --workers 1\n"
    "  STEELYARD_LOG_LEVEL=debug steelyard config --config steelyard.toml --json"
)
@all_settings
@json_option
def config(config_file: Path | None, as_json: bool, **flags: Any) -> None:
    """Show the settings in force, and where each came from.

    Takes what `steelyard serve` takes. A flag has more weight than the variable STEELYARD_<SETTING> of the
    environment, that more than the file, and the file more than the default.
    """
    found = resolved(config_file, flags)
    if as_json:
        values = found.settings.model_dump(mode="json")
        print_json({name: {"value": value, "origin": found.origins[name]} for name, value in values.items()})
        return
    rows = [(name, spelled(getattr(found.settings, name)), origin) for name, origin in found.origins.items()]
    print_table(("setting", "value", "from"), rows)
