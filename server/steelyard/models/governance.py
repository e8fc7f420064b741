"""Who answers for a model, and until when: the table [governance] of model.toml."""

import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from steelyard.models.table import Table, Text

# What the production profile insists on. That the validator is not the developer can only be held where both are named.
NEEDED = ("owner", "developed_by", "validated_by", "purpose", "retire_on")


class Governance(Table):
    """`[governance]` of model.toml: who answers for the model, and until when."""

    owner: Text | None = Field(
        default=None, description="Who answers for the model: a person or a team, with a way to reach them."
    )
    backup_owner: Text | None = Field(default=None, description="Who answers when the owner cannot.")
    tier: Text | None = Field(
        default=None, description="How much rests on the model, in the organisation's own words."
    )
    purpose: Text | None = Field(default=None, description="What the model is for.")
    intended_use: Text | None = Field(default=None, description="Who may use it, and for what.")
    restrictions: Text | None = Field(default=None, description="What it must not be used for.")
    developed_by: Text | None = Field(default=None, description="Who made the model.")
    validated_by: Text | None = Field(default=None, description="Who checked it; not who made it.")
    last_validation: datetime.date | None = Field(default=None, description="When it was last checked.")
    next_validation: datetime.date | None = Field(default=None, description="When it must be checked again.")
    retire_on: datetime.date | None = Field(
        default=None, description="The last day on which it serves, in UTC."
    )
    # Stopping by itself at midnight is what an owner has to ask for: nobody is there to see it.
    after_retirement: Literal["stop", "serve"] = Field(
        default="serve",
        description="What becomes of versions that run when retire_on is over: they stop, or they serve on "
        "until the server is started again.",
    )
    retirement_runbook: Text | None = Field(
        default=None, description="Where it stands how to take it out of service."
    )
    replacement: Text | None = Field(default=None, description="What takes its place.")

    @model_validator(mode="after")
    def _independent_and_in_order(self) -> Self:
        by = (self.validated_by, self.developed_by)
        if by[0] is not None and by[1] is not None and by[0].strip().casefold() == by[1].strip().casefold():
            raise ValueError("validated_by: expected someone else than developed_by")
        if self.last_validation and self.next_validation and self.next_validation <= self.last_validation:
            raise ValueError("next_validation: expected a date after last_validation")
        return self

    @property
    def missing(self) -> list[str]:
        """The keys that the production profile insists on and that are not there."""
        return [key for key in NEEDED if getattr(self, key) is None]

    def is_over(self, today: datetime.date) -> bool:
        """Whether `retire_on` lies before `today`, in UTC."""
        return self.retire_on is not None and self.retire_on < today


def utc_date(unix_ns: int) -> datetime.date:
    """The day in UTC of a time in nanoseconds since the epoch."""
    return datetime.datetime.fromtimestamp(unix_ns // 1_000_000_000, datetime.UTC).date()
