"""`steelyard pipeline`: steps from raw data to tensors, made from what others fitted."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import tomli_w

from steelyard.cli.files import write_new
from steelyard.cli.output import json_option, print_json
from steelyard.cli.rows import rows_option
from steelyard.errors import ConfigError

if TYPE_CHECKING:
    from steelyard.pipelines.tabular.from_sklearn import Converted


@click.group(
    epilog="\b\nExample:\n  steelyard pipeline from-sklearn preprocessing.joblib --tensor input --output steps.toml"
)
def pipeline() -> None:
    """Make the steps from raw data to a model's tensors.

    Every command of it takes --json.
    """


@pipeline.command(
    "from-sklearn",
    epilog="\b\nExample:\n  steelyard pipeline from-sklearn preprocessing.joblib --tensor input --output steps.toml\n"
    "  steelyard pipeline from-sklearn model.pkl --rows json --datatype FP64",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option("--tensor", default="x", show_default=True, help="The model's tensor that the features make.")
@click.option(
    "--datatype",
    type=click.Choice(["FP32", "FP64"]),
    default="FP32",
    show_default=True,
    help="The tensor's datatype.",
)
@rows_option
@click.option(
    "--columns",
    metavar="NAME,NAME,...",
    help="Names of the columns, where it was fitted on an array that had none.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the steps; long lists of categories go beside it. Not given: print them.",
)
@json_option
def from_sklearn(
    file: Path, tensor: str, datatype: str, rows: str, columns: str | None, output: Path | None, as_json: bool
) -> None:
    """Write a fitted scikit-learn transformer as steps that give exactly its outputs.

    FILE is a joblib or pickle file of a ColumnTransformer, or of a Pipeline whose model is then left out. Known are
    SimpleImputer, StandardScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder and KBinsDiscretizer.

    Loading a pickle runs whatever code it names: load only files that you trust.
    """
    from steelyard.pipelines.tabular.from_sklearn import convert, load_estimator

    converted = convert(
        load_estimator(file),
        tensor=tensor,
        datatype=datatype,
        rows=rows,
        columns=None if columns is None else columns.split(","),
    )
    text = tomli_w.dumps(converted.document)
    if output is not None:
        write_new({output: text} | {output.parent / name: made for name, made in converted.files.items()})
    elif converted.files:
        raise ConfigError(f"expected --output, since {len(converted.files)} lists of categories need a file")
    _report(converted, text, output, as_json)


def _report(converted: "Converted", text: str, output: Path | None, as_json: bool) -> None:
    columns = len(converted.document["column"])
    features = len(converted.document["tensor"][0]["feature"])
    if as_json:
        print_json(
            {
                "output": None if output is None else str(output),
                "files": list(converted.files),
                "columns": columns,
                "features": features,
                "skipped": list(converted.skipped),
                "document": json.loads(json.dumps(converted.document)),
            }
        )
        return
    for name in converted.skipped:
        click.echo(f"left out, as it is the model: {name}", err=True)
    if output is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"Wrote {output}: {columns} columns, {features} features")
