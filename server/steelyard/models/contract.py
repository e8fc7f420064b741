"""The data contract: what the values of an input or a column keep to, and what is done about those that do not."""

from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steelyard.models.table import Table
from steelyard.toml import Bytes

# A million categories is the largest list that a column of identifiers has any use for; longer than that is no rule.
MAX_ALLOWED = 1_000_000
MAX_PATTERN_CHARS = 4096

# Past all 64-bit integers, signed or not; a whole number of more digits than a double has cannot be stored.
_LIMIT = 1 << 64
Whole = Annotated[int, Field(ge=-_LIMIT, le=_LIMIT)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Value = str | bool | Whole | Finite
Bound = Whole | Finite | datetime | date
OnBreach = Literal["refuse", "mark", "flag"]
Policy = Literal["refuse", "impute", "null"]

ON_BREACH = (
    "refuse: the request fails; mark: the other rows are answered, and the output `row_status` says which were not; "
    "flag: the row is answered, and the answer's parameters say which rule it breaks."
)


class Contract(Table):
    """`contract` of an input or of a column."""

    min: Bound | None = Field(
        default=None, description="The least value: a number, or a date for a column of dates."
    )
    max: Bound | None = Field(default=None, description="The greatest value.")
    allowed: Annotated[tuple[Value, ...], Field(strict=False)] | str = Field(
        default=(),
        description="The values that there are: a list, or a file in the version's directory (`.json` with a list, or "
        "text with one a line).",
    )
    pattern: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_PATTERN_CHARS,
        description="A regular expression of RE2 that a whole text matches. Needs the extra `patterns`.",
    )
    max_bytes: Bytes | None = Field(
        default=None, ge=0, description="The longest text or file, or the largest row."
    )
    missing: Policy = Field(
        default="null",
        description="What is done about a missing value (null, NaN in numbers, an absent key): refuse: it breaks the "
        "rule `missing`; impute: it becomes `value`; null: it stays missing, and steps see that.",
    )
    unknown: Policy = Field(
        default="refuse",
        description="What is done about a value that is not `allowed`: it breaks the rule `allowed`, becomes `value`, "
        "or becomes missing, which `missing` then decides on.",
    )
    value: Value | datetime | date | None = Field(
        default=None,
        description="What stands for missing and unknown values that are imputed; it need not keep to the rules.",
    )
    on_breach: OnBreach | None = Field(
        default=None,
        description="What happens to a row that breaks a rule; not given: what the version says.",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self._check_bounds()
        if isinstance(self.allowed, tuple) and len(self.allowed) > MAX_ALLOWED:
            raise ValueError(f"allowed: expected at most {MAX_ALLOWED} values, got {len(self.allowed)}")
        imputes = "impute" in (self.missing, self.unknown)
        if imputes and self.value is None:
            raise ValueError("value: expected where missing or unknown values are imputed, but not given")
        if not imputes and self.value is not None:
            raise ValueError("value: expected only where missing = 'impute' or unknown = 'impute'")
        if self.unknown != "refuse" and not self.allowed:
            raise ValueError(f"unknown = '{self.unknown}': expected only beside allowed")
        return self

    def _check_bounds(self) -> None:
        bounds = [bound for bound in (self.min, self.max) if bound is not None]
        if len({isinstance(bound, date) for bound in bounds}) > 1:
            raise ValueError("expected min and max to be both numbers or both dates")
        if len(bounds) == 2 and not isinstance(bounds[0], date) and bounds[0] > bounds[1]:  # type: ignore[operator]
            raise ValueError(f"min: expected at most max = {bounds[1]}, got {bounds[0]}")

    @property
    def checks(self) -> bool:
        """Whether there is any rule that a value could break, or a value to put in."""
        rules = (self.min, self.max, self.pattern, self.max_bytes)
        return bool(self.allowed) or self.missing != "null" or any(rule is not None for rule in rules)
