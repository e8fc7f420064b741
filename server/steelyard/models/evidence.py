"""What is kept of a model's decisions: the table [evidence] of model.toml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from steelyard.models.table import Table
from steelyard.toml import Bytes

# A tensor's name is at most so long; a column's name follows a point.
MAX_MASK_CHARS = 2048
# One a column of the widest table that anybody masks by name.
MAX_MASKS = 1024

# Whose key it was is how a request is found again, to be erased: see `rollout.bucket.KEY_PARAMETER`.
UNMASKED = "parameters.steelyard_key"

Reason = Literal["error", "refusal", "canary", "disagreement", "flag"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Capture(Table):
    """`[evidence.capture]` of model.toml: which requests and answers are kept themselves, masked, and for how long."""

    rate: Share = Field(
        default=0.0,
        description="Share of decisions whose request and answer are kept, chosen by the decision id; 0: none.",
    )
    reasons: tuple[Reason, ...] = Field(
        default=(),
        max_length=16,
        strict=False,
        description="What is kept whatever the rate: error, refusal, canary (the candidate's answers), disagreement "
        "(of a shadow's candidate), flag (the data contract flagged or marked a row).",
    )
    max_bytes: Bytes = Field(
        default=1 << 20,
        ge=1,
        le=1 << 30,
        description="Largest request and answer together; of what is larger only digests are kept.",
    )
    masks: tuple[Annotated[str, Field(min_length=1, max_length=MAX_MASK_CHARS)], ...] = Field(
        default=(),
        max_length=MAX_MASKS,
        strict=False,
        description="What is blotted out before anything is written: an input or output by name, INPUT.COLUMN for "
        "a key of an input's JSON objects, or parameters.NAME for a parameter of the request.",
    )
    # A tenth of a second at a hundred megabytes a second: what a burst needs until a disk that keeps up has taken it.
    max_waiting_bytes: Bytes = Field(
        default=16 << 20,
        ge=0,
        le=1 << 34,
        description="Bytes that may wait for the disk, in each worker; what comes beyond is dropped and counted.",
    )
    retention_days: float = Field(
        default=30.0,
        gt=0,
        le=36_525,
        allow_inf_nan=False,
        description="Payloads older than this are removed.",
    )
    retention_bytes: Bytes = Field(
        default=1 << 30,
        ge=1,
        le=1 << 50,
        description="The oldest payloads are removed where the model's take more than this together.",
    )

    @field_validator("masks")
    @classmethod
    def _keeps_the_key(cls, masks: tuple[str, ...]) -> tuple[str, ...]:
        if UNMASKED in masks:
            raise ValueError(
                f"expected no {UNMASKED}: it is in the decision's record, and what payloads are erased by"
            )
        return masks

    @field_validator("reasons")
    @classmethod
    def _each_once(cls, reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
        if len(set(reasons)) != len(reasons):
            raise ValueError(f"expected each reason once, got {', '.join(reasons)}")
        return reasons


class Evidence(Table):
    """`[evidence]` of model.toml: what is kept of each decision."""

    mode: Literal["best_effort", "required", "off"] = Field(
        default="best_effort",
        description="best_effort: every decision is recorded, no answer waits, what is lost is counted; required: an "
        "answer leaves when its record is on disk; off: none is recorded.",
    )
    sample: Share = Field(
        default=1.0,
        description="Share of the answers that are recorded; errors, refusals, a canary's and flagged ones always are.",
    )
    payload_digest: bool = Field(
        default=False,
        description="Whether salted digests of every request and answer are kept, also where these are not.",
    )
    capture: Capture = Field(
        default=Capture(),
        description="Which requests and answers are kept themselves; see [evidence.capture].",
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

    @property
    def captures(self) -> bool:
        """Whether anything of a request's content is looked at."""
        return self.mode != "off" and bool(self.payload_digest or self.capture.rate or self.capture.reasons)
