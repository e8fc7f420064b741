"""`steelyard golden`: examples with known answers, which a version must give before it may become ready."""

from collections.abc import Sequence
from pathlib import Path

import click

from steelyard.cli.output import json_option, print_json
from steelyard.cli.pairs import by_name
from steelyard.cli.server import Way, asked_at, server_options
from steelyard.cli.settings import resolved, settings_options
from steelyard.errors import Unavailable


@click.group(
    epilog="\b\nExample:\n  steelyard golden record classifier --name 'a cat' --input image=@cat.jpg"
)
def golden() -> None:
    """Keep examples with known answers beside a version.

    Every command of it takes --json.
    """


@golden.command(
    "record",
    epilog="\b\nExample:\n  steelyard golden record classifier --name 'a cat' --input image=@cat.jpg\n"
    "  steelyard golden record filetype --version 1 --name python --input file=@setup.py",
)
@click.argument("model")
@click.option("--name", required=True, metavar="NAME", help="What to call the example.")
@click.option(
    "--input",
    "given",
    metavar="NAME=VALUE",
    multiple=True,
    help="An input, as for `steelyard infer`. May be given for each input.",
)
@click.option(
    "--version", default="", metavar="V", help="The version to ask; not given: the server's choice."
)
@server_options(address=False)
@settings_options("data")
@json_option
def record(
    model: str,
    name: str,
    given: Sequence[str],
    version: str,
    way: Way,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Ask a running server, and keep its answer as what is right.

    Look at the answer first (`steelyard infer`): from now on it is what every load of this version has to give. The
    example goes into the version's directory, so the server has to be on this machine.
    """
    settings = resolved(config_file, {"data": data}).settings
    values = by_name(given, "--input")

    from steelyard.models.golden import write_golden
    from steelyard.models.names import name_problem
    from steelyard.supervisor.datadir import find_server

    problem = name_problem(name)
    if problem is not None:
        raise click.UsageError(f"--name: {problem.removeprefix('model ')}")
    server = find_server(settings.data)
    if server is None:
        raise Unavailable(
            f"no server is running with the data directory {settings.data}: name it with --data"
        )

    from steelyard.cli.inputs import InputReader
    from steelyard.client import Client, Tensor
    from steelyard.client.requests import Request, encode_request
    from steelyard.client.tensors import encode_tensor
    from steelyard.wire import encode_response

    limit = settings.max_message_bytes
    asked = asked_at(server, way)
    with Client(asked.address, timeout_s=30.0, max_message_bytes=limit, tls=asked.tls) as client:
        metadata = client.metadata(model, version)
        reader = InputReader(model, metadata.inputs, {}, limit)
        inputs = {input_name: reader.from_option(input_name, text) for input_name, text in values.items()}
        result = client.infer(model, inputs, version=version)
    outputs = [
        encode_tensor(output, Tensor(array, result.datatypes[output]))
        for output, array in result.outputs.items()
    ]
    expected = encode_response(model, result.version, "", {}, outputs)
    directory = Path(server.repository, model, result.version)
    kept = write_golden(directory, name, encode_request(Request(model=model, inputs=inputs)), expected)
    if as_json:
        print_json({"model": model, "version": result.version, "name": name, "path": str(kept)})
    else:
        click.echo(f"{model} version {result.version}: {kept}")
