"""What is kept of a model's decisions: the table [evidence] of model.toml."""

from typing import Literal

from pydantic import Field

from steelyard.models.table import Table


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
