"""`steelyard add`: an ONNX file becomes a version of a model."""

from pathlib import Path

import click

from steelyard.cli.output import json_option, print_json


@click.command(
    epilog="\b\nExample:\n  steelyard add classifier.onnx --name classifier --repository models/\n"
    "  steelyard add classifier.onnx --name classifier --repository models/ --version 7"
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option("--name", required=True, help="The model's name.")
@click.option(
    "--repository",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    show_default=True,
    help="The model repository; made if it is not there.",
)
@click.option(
    "--version",
    type=int,
    metavar="N",
    help="The version's number; not given: one above the highest there is.",
)
@json_option
def add(file: Path, name: str, repository: Path, version: int | None, as_json: bool) -> None:
    """Put an ONNX file into a repository as a version of a model.

    Its external data is copied with it, and version.toml is filled in from the graph. A running server that
    watches the repository takes the version up when it is complete, never before.
    """
    from steelyard.models.add import add_version
    from steelyard.models.digest import version_digest

    path = add_version(repository, name, file, version=version)
    digest = version_digest(path)
    if as_json:
        print_json({"name": name, "version": int(path.name), "path": str(path), "digest": digest})
    else:
        click.echo(f"Added {name} version {path.name}: {path} ({digest})")
