"""What is kept of a model's decisions: the table [evidence] of model.toml."""

from typing import Literal

from pydantic import Field

from steelyard.models.table import Table
from steelyard.toml import Bytes


class Evidence(Table):
    """`[evidence]` of model.toml."""

    mode: Literal["best_effort", "required", "off"] = Field(
        default="best_effort",
        description="best_effort: every decision is recorded, no answer waits, what is lost is counted; required: an "
        "answer leaves when its record is on disk; off: none is recorded.",
    )
    sample: float = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the answers that are recorded; errors, refusals, a canary's and flagged ones always are.",
    )
    # The AI Act asks for six months at least (Art. 19 and 26(6)); a year and a month covers a yearly audit.
    retention_days: float = Field(
        default=400.0,
        gt=0,
        le=36_525,
        allow_inf_nan=False,
        description="Sealed decisions older than this are removed.",
    )
    # Half a billion decisions and more, so that no model fills the disk of all.
    retention_bytes: Bytes = Field(
        default=32 << 30,
        ge=1,
        le=1 << 50,
        description="The oldest sealed decisions are removed where the model's take more than this together.",
    )
