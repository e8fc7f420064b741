"""What steps take of a version's training profile where their options are not given."""

from pathlib import Path

from steelyard.models.profile import PROFILE, ColumnProfile, read_profile
from steelyard.pipelines.tabular.categories import Profile


def profile_of(directory: Path) -> Profile:
    """For each column what its steps may take, by the names of their options; empty where no profile is.

    directory: the version's. Raises ManifestError where its profile cannot be read.
    """
    profile = read_profile(directory / PROFILE)
    return {} if profile is None else {column.name: _figures(column) for column in profile.columns}


def _figures(column: ColumnProfile) -> dict[str, object]:
    figures: dict[str, object] = {}
    if column.values is not None and column.values.counts:
        figures["mode"] = column.values.counts[0][0]
        if column.values.exact and not column.values.rest:
            # One column holds values of one type. In this order they are for encoders that were fitted on the data.
            figures["categories"] = sorted(value for value, _ in column.values.counts)
    if column.numbers is not None:
        figures |= column.numbers.model_dump(include={"mean", "std", "min", "max", "median", "mode"})
    return figures
