"""A table of a manifest: frozen, strict, with no key that it does not know."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from steelyard.errors import ManifestError
from steelyard.toml import describe_problems, read_toml

# A line for people in an inventory, a log and a metric's help; a document belongs behind a link.
MAX_TEXT_CHARS = 4096

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]


class Table(BaseModel):
    """What every table of a manifest has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


M = TypeVar("M", bound=Table)


def read_table(path: Path, model: type[M]) -> M:
    """The manifest at `path` as a `model`, or its defaults where no file is. Raises ManifestError."""
    try:
        document = read_toml(path, ManifestError)
    except FileNotFoundError:
        return model()
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        raise ManifestError(f"{path}: {'; '.join(describe_problems(exc, model))}") from exc
