"""The steps of a feature as a manifest declares them."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self, cast

from pydantic import Field, ValidationError, model_validator

from steelyard.models.table import Table
from steelyard.toml import describe_problems, did_you_mean

# Written into a manifest by hand or by a program; longer lists go into a file of their own.
MAX_INLINE_CATEGORIES = 1_000_000
MAX_BUCKETS = 1 << 24
MAX_EDGES = 65_536

Category = str | bool | int | float
Finite = Annotated[float, Field(allow_inf_nan=False)]
Index = Annotated[int, Field(ge=-(1 << 53), le=1 << 53)]
MissingPolicy = Literal["keep", "refuse"]


class StepTable(Table):
    """What every step has: its name."""

    step: str


class Impute(StepTable):
    """A missing value becomes `value`."""

    step: Literal["impute"]
    strategy: Literal["constant", "mean", "median", "mode"] = "constant"
    value: Category | None = Field(
        default=None,
        description="What to put in; not given: what the profile says of the column for the strategy.",
    )

    @model_validator(mode="after")
    def _constant_has_value(self) -> Self:
        if self.strategy == "constant" and self.value is None:
            raise ValueError("value: expected for strategy constant, but not given")
        return self


class Clip(StepTable):
    """Values are kept from `min` to `max`; a missing one stays missing."""

    step: Literal["clip"]
    min: Finite | None = None
    max: Finite | None = None

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min: expected at most max = {self.max}, got {self.min}")
        return self


class Scale(StepTable):
    """standard: (x - mean) / std; minmax: into `range`; linear: (x - subtract) / divide * multiply + add."""

    step: Literal["scale"]
    method: Literal["standard", "minmax", "linear"] = "standard"
    mean: Finite | None = None
    std: Finite | None = None
    min: Finite | None = None
    max: Finite | None = None
    range: tuple[Finite, Finite] = Field(default=(0.0, 1.0), strict=False)
    subtract: Finite | None = None
    divide: Finite | None = None
    multiply: Finite | None = None
    add: Finite | None = None

    _OWN_KEYS: ClassVar[dict[str, frozenset[str]]] = {
        "standard": frozenset(("mean", "std")),
        "minmax": frozenset(("min", "max", "range")),
        "linear": frozenset(("subtract", "divide", "multiply", "add")),
    }

    @model_validator(mode="after")
    def _keys_of_method(self) -> Self:
        given = self.model_fields_set - {"step", "method"}
        own = self._OWN_KEYS[self.method]
        if strange := sorted(given - own):
            raise ValueError(f"{strange[0]}: method {self.method} has only {', '.join(sorted(own))}")
        if self.method == "linear" and not given:
            raise ValueError(f"method linear expects at least one of {', '.join(sorted(own))}")
        if self.divide == 0 or self.std == 0:
            raise ValueError("expected a divisor other than 0")
        return self


class Log(StepTable):
    """log1p: ln(1 + x + offset); log: ln(x + offset)."""

    step: Literal["log"]
    method: Literal["log1p", "log"] = "log1p"
    offset: Finite = 0.0


class Bucketize(StepTable):
    """How many of the ascending `edges` are at most the value: 0 to len(edges)."""

    step: Literal["bucketize"]
    edges: tuple[Finite, ...] = Field(max_length=MAX_EDGES, strict=False)
    output: Literal["ordinal", "onehot"] = "ordinal"
    missing: MissingPolicy = "keep"

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.edges) != sorted(self.edges):
            raise ValueError("edges: expected ascending numbers")
        return self


class Categorical(StepTable):
    """What the steps over categories have in common."""

    categories: Annotated[tuple[Category, ...], Field(strict=False)] | str | None = Field(
        default=None,
        description="The categories in order, or the path of a file in the version's directory: .json with a "
        "list, or text with one a line; not given: what the profile says.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if isinstance(self.categories, tuple) and len(self.categories) > MAX_INLINE_CATEGORIES:
            raise ValueError(
                f"categories: expected at most {MAX_INLINE_CATEGORIES}, got {len(self.categories)}"
            )
        return self


class VocabularyStep(Categorical):
    """A category becomes its position, or the number that `indices` gives it."""

    step: Literal["vocabulary"]
    indices: tuple[Index, ...] | None = Field(default=None, strict=False)
    unknown: Literal["refuse", "missing"] | Index = "refuse"
    missing: MissingPolicy | Index = "keep"


class OneHot(Categorical):
    """One column a category, then one for `missing = "category"`, then one for all of `infrequent`."""

    step: Literal["onehot"]
    drop: Category | None = Field(default=None, description="A category that has no column.")
    infrequent: tuple[Category, ...] = Field(default=(), strict=False)
    unknown: Literal["zeros", "infrequent", "refuse"] = "zeros"
    missing: Literal["zeros", "category", "infrequent", "refuse"] = "zeros"

    @model_validator(mode="after")
    def _has_infrequent(self) -> Self:
        if not self.infrequent and "infrequent" in (self.unknown, self.missing):
            raise ValueError("infrequent: expected the categories that share its column, got none")
        return self


class Hashing(StepTable):
    """XXH64 (with `seed`) of the UTF-8 text, or of the 8 little-endian bytes of the number, modulo `buckets`."""

    step: Literal["hash"]
    buckets: int = Field(ge=1, le=MAX_BUCKETS)
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    output: Literal["ordinal", "onehot"] = "ordinal"
    missing: MissingPolicy = "keep"


class MissingIndicator(StepTable):
    """1 where the value is missing, else 0."""

    step: Literal["missing_indicator"]


class DateParts(StepTable):
    """Each part of a date in turn, in UTC; Monday is 0. Steps behind it apply to every part."""

    step: Literal["date_parts"]
    parts: tuple[Literal["year", "month", "day", "weekday", "hour", "minute"], ...] = Field(
        min_length=1, max_length=6, strict=False
    )


Step = (
    Impute | Clip | Scale | Log | Bucketize | VocabularyStep | OneHot | Hashing | MissingIndicator | DateParts
)

STEPS: dict[str, type[Step]] = {
    "impute": Impute,
    "clip": Clip,
    "scale": Scale,
    "log": Log,
    "bucketize": Bucketize,
    "vocabulary": VocabularyStep,
    "onehot": OneHot,
    "hash": Hashing,
    "missing_indicator": MissingIndicator,
    "date_parts": DateParts,
}
"""The steps by the name that a manifest calls them."""


def parse_steps(value: object) -> object:
    """Steps of tables, each by its own declaration. Raises ValueError that names the step and the key."""
    if not isinstance(value, list | tuple):
        raise ValueError('expected a list of tables such as { step = "impute", value = 0.0 }')
    return tuple(_parse(step, number) for number, step in enumerate(value, 1))


def _parse(value: object, number: int) -> Step:
    if isinstance(value, StepTable):
        return cast(Step, value)
    if not isinstance(value, dict):
        raise ValueError(f'step {number}: expected a table such as {{ step = "impute", value = 0.0 }}')
    name = value.get("step")
    if not isinstance(name, str):
        raise ValueError(f'step {number}: expected its name as step = "...", one of: {_listed(list(STEPS))}')
    if name not in STEPS:
        raise ValueError(f"step {number}: unknown step {name!r:.80}{did_you_mean(name, STEPS)}")
    try:
        return STEPS[name].model_validate(value)
    except ValidationError as exc:
        problems = "; ".join(describe_problems(exc, STEPS[name]))
        raise ValueError(f"step {number} ({name}): {problems}") from exc


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
