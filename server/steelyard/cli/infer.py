"""`steelyard infer`: one inference, from files or JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from steelyard.cli.output import json_option, print_json
from steelyard.cli.pairs import by_name, shapes_by_name
from steelyard.cli.server import Way, server_of, server_options
from steelyard.cli.settings import resolved, settings_options
from steelyard.observe.logs import printable


@click.command(
    epilog="\b\nExample:\n  steelyard infer classifier --input X=@x.npy --data models/.steelyard\n"
    "  steelyard infer classifier --input X=@x.raw --shape X=1,16 --address 127.0.0.1:8001\n"
    "  steelyard infer classifier --input 'X=[[1, 2, 3]]' --classes 5\n"
    "  echo '{\"X\": [[1, 2, 3]]}' | steelyard infer classifier --json-input - --json"
)
@click.argument("model")
@click.option(
    "--input",
    "given",
    metavar="NAME=VALUE",
    multiple=True,
    help="An input: @FILE.npy, @FILE with raw little-endian bytes, or JSON. May be given for each input.",
)
@click.option(
    "--shape",
    "shapes",
    metavar="NAME=DIMS",
    multiple=True,
    help="An input's shape, such as 1,16; needed for a raw file where more than one dimension is open.",
)
@click.option(
    "--json-input", metavar="FILE", help='Inputs as a JSON object of arrays by name; "-" reads stdin.'
)
@click.option(
    "--version", default="", metavar="V", help="The version to ask; not given: the server's choice."
)
@click.option("--classes", type=click.IntRange(min=1), metavar="K", help="The K best classes of each output.")
@click.option("--request-id", default="", metavar="ID", help="Your own name for the request, to find it by.")
@click.option("--timeout", "timeout_s", type=float, default=30.0, show_default=True, help="In seconds.")
@click.option(
    "--output", metavar="FILE.npz", type=click.Path(dir_okay=False, path_type=Path), help="Store the outputs."
)
@server_options()
@settings_options("data")
@json_option
def infer(
    model: str,
    given: Sequence[str],
    shapes: Sequence[str],
    json_input: str | None,
    version: str,
    classes: int | None,
    request_id: str,
    timeout_s: float,
    output: Path | None,
    way: Way,
    config_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Ask a server for one inference.

    Finds the server by its data directory, or asks that at --address. Prints the outputs, which version and
    which content answered, and the decision id, by which the server knows the request.
    """
    settings = resolved(config_file, {"data": data}).settings
    values = by_name(given, "--input")
    dims = shapes_by_name(shapes)
    server = server_of(way, settings)

    from steelyard.cli.inputs import InputReader
    from steelyard.cli.values import save_npz
    from steelyard.client import Client

    limit = settings.max_message_bytes
    with Client(server.address, timeout_s=timeout_s, max_message_bytes=limit, tls=server.tls) as client:
        metadata = client.metadata(model, version)
        reader = InputReader(model, metadata.inputs, dims, limit)
        inputs = reader.from_json(json_input) if json_input is not None else {}
        for name, text in values.items():
            if name in inputs:
                raise click.UsageError(f"input {name!r} is given by --input and by --json-input")
            inputs[name] = reader.from_option(name, text)
        numeric = [tensor.name for tensor in metadata.outputs if tensor.datatype not in ("BOOL", "BYTES")]
        result = client.infer(
            model,
            inputs,
            version=version,
            request_id=request_id,
            outputs=[tensor.name for tensor in metadata.outputs] if classes else None,
            classes=dict.fromkeys(numeric, classes) if classes else None,
        )
    if output is not None:
        save_npz(output, result.outputs)
    if as_json:
        print_json(_document(result))
    else:
        _print(result)


def _document(result: Any) -> Mapping[str, object]:
    from steelyard.cli.values import json_values

    return {
        "model": result.model,
        "version": result.version,
        "digest": result.digest,
        "decision_id": result.decision_id,
        "request_id": result.request_id,
        "elapsed_ms": result.elapsed_ns / 1e6,
        "outputs": {
            name: {
                "datatype": result.datatypes[name],
                "shape": list(array.shape),
                "data": json_values(array, result.datatypes[name]),
            }
            for name, array in result.outputs.items()
        },
    }


def _print(result: Any) -> None:
    import numpy as np

    from steelyard.cli.values import readable

    for name, array in result.outputs.items():
        datatype = result.datatypes[name]
        text = np.array2string(readable(array, datatype), precision=6, suppress_small=True, threshold=200)
        lines = [printable(line) for line in text.split("\n")]
        click.echo(f"{printable(name)} {datatype}{list(array.shape)}")
        click.echo("\n".join(f"  {line}" for line in lines))
    click.echo(f"{result.model} version {result.version} ({result.digest})")
    click.echo(f"decision {result.decision_id}, {result.elapsed_ns / 1e6:.2f} ms")
