"""`steelyard contract`: what the values of a version's inputs keep to, found from the data that it was trained on."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.output import json_option, print_json
from steelyard.cli.rows import rows_option

if TYPE_CHECKING:
    from steelyard.models.profile import Profile

# A manifest is read up to a mebibyte, and longer lists are for a file of their own.
MAX_ALLOWED_LISTED = 1000
# With those that CSV has anyway no more than a column of a manifest may have.
MAX_MISSING_TEXTS = 32
MAX_TEXT_CHARS = 1024

_BEGUN = """\
# What each key means: docs/manifest.md, docs/tabular.md
# Still to be said: [[input.steps.tensor]], the model's tensors and the features that they are made of.

"""


@click.group(
    epilog="\b\nExample:\n  steelyard contract infer training.parquet --target late --version models/flights/1"
)
def contract() -> None:
    """Write a first contract and a training profile from data.

    Every command of it takes --json.
    """


@contract.command(
    "infer",
    epilog="\b\nExample:\n  steelyard contract infer training.parquet --target late --version models/flights/1\n"
    "  steelyard contract infer training.csv --output columns.toml --profile profile.json --slack 0.1",
)
@click.argument("data", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the columns and their contracts as TOML. Not given: print them.",
)
@click.option(
    "--version",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A version's directory: begin its version.toml where it has none, and write its profile.json.",
)
@click.option(
    "--profile",
    "profile_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the training profile. Not given: profile.json in --version DIR, if that is given.",
)
@click.option(
    "--target",
    "targets",
    metavar="COLUMN",
    multiple=True,
    help="A column to leave out, such as what the model predicts. May be given several times.",
)
@rows_option
@click.option(
    "--allowed",
    type=click.IntRange(0, MAX_ALLOWED_LISTED),
    default=200,
    show_default=True,
    metavar="N",
    help="The most different texts for which a column gets a list of those that are allowed.",
)
@click.option(
    "--slack",
    type=click.FloatRange(0.0, 1000.0),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="How much wider than the data bounds are, as a share of its range.",
)
@click.option(
    "--missing-text",
    "missing_texts",
    metavar="TEXT",
    multiple=True,
    help="A text that means a missing value in every column, such as NA. May be given several times.",
)
@click.option("--delimiter", default=",", show_default=True, metavar="CHARACTER", help="What separates CSV.")
@json_option
def infer(
    data: Path,
    output: Path | None,
    version: Path | None,
    profile_path: Path | None,
    targets: Sequence[str],
    rows: str,
    allowed: int,
    slack: float,
    missing_texts: Sequence[str],
    delimiter: str,
    as_json: bool,
) -> None:
    """Write what training data in CSV or Parquet keeps to as a first contract, and what it holds as a profile.

    Bounds, allowed texts and whether a value may be missing are those of the data: read the contract before you
    serve by it. Nothing that is there is overwritten.
    """
    if math.isnan(slack):
        raise click.UsageError("--slack: expected a number, got nan")
    if len(missing_texts) > MAX_MISSING_TEXTS or any(len(text) > MAX_TEXT_CHARS for text in missing_texts):
        raise click.UsageError(
            f"--missing-text: expected at most {MAX_MISSING_TEXTS} of at most {MAX_TEXT_CHARS} characters"
        )
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '\r\n"':
        raise click.UsageError(f"--delimiter: expected one character of ASCII, got {delimiter!r:.80}")

    from steelyard.cli.files import check_new, write_new
    from steelyard.models.profile import PROFILE, profile_text
    from steelyard.models.version_manifest import VERSION_MANIFEST
    from steelyard.pipelines.profiling.library import require_pyarrow

    require_pyarrow()
    if output is None and version is not None and not (version / VERSION_MANIFEST).exists():
        output = version / VERSION_MANIFEST
    if profile_path is None and version is not None:
        profile_path = version / PROFILE
    check_new(path for path in (output, profile_path) if path is not None)

    from steelyard.pipelines.profiling.contract import infer_columns, notes_on
    from steelyard.pipelines.profiling.file import profile_file

    read, profile = profile_file(
        data, left_out=frozenset(targets), missing_texts=missing_texts, delimiter=delimiter
    )
    columns = infer_columns(profile, read.missing_texts, allowed=allowed, slack=slack)
    document = {"input": [{"name": "rows", "steps": [{"step": "table", "rows": rows, "column": columns}]}]}
    text = _manifest_text(document)
    files = {} if output is None else {output: _BEGUN + text}
    if profile_path is not None:
        files[profile_path] = profile_text(profile)
    write_new(files)
    notes = [*read.notes, *notes_on(profile)]
    _report(profile, document, None if output else text, [str(path) for path in files], notes, as_json)


def _manifest_text(document: dict[str, Any]) -> str:
    """The document as TOML. Raises ConfigError where no server would read so much."""
    import tomli_w

    from steelyard.errors import ConfigError
    from steelyard.toml import MAX_TOML_BYTES

    text = tomli_w.dumps(document)
    if len(text.encode()) > MAX_TOML_BYTES:
        raise ConfigError(f"expected at most {MAX_TOML_BYTES} bytes of TOML, got more: lower --allowed")
    return text


def _report(
    profile: "Profile",
    document: dict[str, Any],
    text: str | None,
    written: list[str],
    notes: list[str],
    as_json: bool,
) -> None:
    """text: what is to be printed, None where it is in a file."""
    if as_json:
        print_json(
            {
                "rows": profile.rows,
                "columns": len(profile.columns),
                "written": written,
                "notes": notes,
                "document": _plain(document),
            }
        )
        return
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if text is not None:
        click.echo(text, nl=False)
    for path in written:
        click.echo(f"Wrote {path}: {profile.rows} rows, {len(profile.columns)} columns", err=text is not None)


def _plain(value: Any) -> Any:
    """The document as JSON has it: dates as texts of ISO 8601."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
