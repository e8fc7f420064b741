"""profile.json: what the columns of a version's training data hold, for steps, for contracts and for tests of drift."""

import itertools
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from steelyard.errors import ManifestError
from steelyard.models.table import Table
from steelyard.toml import describe_problems

PROFILE = "profile.json"
FORMAT: Literal[1] = 1

# A column of numbers takes 3 KB, one of a thousand long values 260 KB. It bounds what a wrong file costs to read.
MAX_PROFILE_BYTES = 256 << 20

HISTOGRAM_BINS = 64
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
# The most frequent values of a column that are listed, and the longest of them: what is longer names nothing.
MAX_VALUES = 1000
MAX_VALUE_BYTES = 256

Finite = Annotated[float, Field(allow_inf_nan=False)]
Number = int | Finite
Count = Annotated[int, Field(ge=0)]


class Bins(Table):
    """How many values lie between edges."""

    edges: tuple[Finite, ...] = Field(description="Ascending.")
    counts: tuple[Count, ...] = Field(description="Of the values in each bin.")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(left > right for left, right in itertools.pairwise(self.edges)):
            raise ValueError("edges: expected ascending numbers")
        return self


class Histogram(Bins):
    """Bins of equal width from the least value to the greatest; a value on an inner edge is in the bin above it."""

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError("expected one edge more than counts")
        return self


class Deciles(Bins):
    """Bins of about equal counts; a value's bin is how many edges are at most the value."""

    @model_validator(mode="after")
    def _open(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError("expected one count more than edges")
        return self


class NumberProfile(Table):
    """The values of a column of numbers, whole numbers, or dates (microseconds from 1970)."""

    min: Number
    max: Number
    mean: Finite | None = Field(description="Null where it is beyond a double, as is `std`.")
    std: Finite | None = Field(description="Of the population: the root of the mean squared deviation.")
    median: Number
    mode: Number = Field(description="The most frequent value, the least of several.")
    quantiles: tuple[tuple[Finite, Finite], ...] = Field(
        description="Probability and value, with linear interpolation."
    )
    histogram: Histogram
    deciles: Deciles
    sample: Annotated[int, Field(gt=0)] | None = Field(
        description="How many values, drawn uniformly, median, quantiles, deciles and the mode come from; null: all."
    )


class ValueCounts(Table):
    """The most frequent values of a column."""

    distinct: Count = Field(description="How many different ones there are; at least so many unless `exact`.")
    exact: bool = Field(description="Whether every value was counted.")
    counts: tuple[tuple[str | bool | int, Count], ...] = Field(
        max_length=MAX_VALUES, description="Value and count, the most frequent first."
    )
    short_by: Count = Field(description="The most by which a count is too low.")
    rest: Count = Field(description="How many values are not among them.")


class ByteLengths(Table):
    """The shortest text and the longest, in bytes of UTF-8."""

    min: Count
    max: Count


class ColumnProfile(Table):
    """A column of the training data."""

    name: str
    kind: Literal["number", "integer", "boolean", "text", "date"]
    missing: Count = Field(description="Rows without a value; NaN is none.")
    missing_share: Annotated[float, Field(ge=0, le=1)]
    infinite: Count = Field(description="Infinities, which are in no other figure.")
    numbers: NumberProfile | None = Field(description="Of numbers, integers and dates that have a value.")
    values: ValueCounts | None = Field(
        description="Of texts and booleans that have a value, and of integers of few values."
    )
    bytes: ByteLengths | None = Field(description="Of texts that have a value.")


class Profile(Table):
    """profile.json."""

    format: Literal[1]
    rows: Count
    columns: tuple[ColumnProfile, ...]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({column.name for column in self.columns}) != len(self.columns):
            raise ValueError("columns: expected each once")
        return self


def profile_text(profile: Profile) -> str:
    """profile.json, a line for each column. Raises ManifestError where it would be too large to be read."""
    columns = ",\n".join(column.model_dump_json() for column in profile.columns)
    text = f'{{"format":{profile.format},"rows":{profile.rows},"columns":[\n{columns}\n]}}\n'
    if len(text.encode()) > MAX_PROFILE_BYTES:
        raise ManifestError(f"{PROFILE}: expected at most {MAX_PROFILE_BYTES} bytes, got more")
    return text


def read_profile(path: Path) -> Profile | None:
    """The profile at `path`, or None where no file is. Raises ManifestError."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_PROFILE_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise ManifestError(f"{path}: is a link that leads nowhere") from None
        return None
    except OSError as exc:
        raise ManifestError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    if len(raw) > MAX_PROFILE_BYTES:
        raise ManifestError(f"{path}: expected at most {MAX_PROFILE_BYTES} bytes, got more")
    try:
        return Profile.model_validate_json(raw)
    except ValidationError as exc:
        raise ManifestError(f"{path}: {'; '.join(describe_problems(exc, Profile))}") from exc
