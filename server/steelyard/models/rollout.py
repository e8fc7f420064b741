"""How a new version comes into service: the table [rollout] of model.toml."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from steelyard.models.table import Table, Text
from steelyard.toml import Bytes

# A label is asked for in the place of a version's number, and stands in metrics and on command lines.
MAX_LABEL_CHARS = 63
_LABEL = re.compile(rf"[a-z][a-z0-9_-]{{0,{MAX_LABEL_CHARS - 1}}}", re.ASCII)

# Longer ones are programs, and belong beside the model.
MAX_EXPRESSION_CHARS = 1000


def label_problem(label: str) -> str | None:
    """Why `label` cannot be a label, or None if it can."""
    if _LABEL.fullmatch(label) is None:
        return (
            f"expected a label of 1 to {MAX_LABEL_CHARS} lower-case letters, digits, - and _ that begins with "
            f"a letter, got {label[:80]!r}"
        )
    return None


def _label(value: str) -> str:
    if problem := label_problem(value):
        raise ValueError(problem)
    return value


Label = Annotated[str, AfterValidator(_label)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class CompareRule(Table):
    """`[[rollout.compare]]`: what it is for a candidate's output to agree with the one in production."""

    output: Text | None = Field(default=None, description="The output; none for an expression.")
    rule: Literal["close", "equal", "cosine", "top_1", "top_k", "ranking", "expression"] = Field(
        default="close",
        description="close, equal, cosine, top_1, top_k, ranking or expression.",
    )
    absolute: Annotated[Finite, Field(ge=0)] | None = Field(
        default=None, description="close: part of the tolerance that is the same for all values."
    )
    relative: Annotated[Finite, Field(ge=0)] | None = Field(
        default=None, description="close: part of the tolerance that grows with the value."
    )
    least: Annotated[Finite, Field(ge=-1, le=1)] | None = Field(
        default=None,
        description="cosine: least similarity (0.999); ranking: least rank correlation (0.99); "
        "top_k: least share in common (1).",
    )
    k: int | None = Field(default=None, ge=1, le=1000, description="top_k: how many.")
    expression: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION_CHARS)] | None = Field(
        default=None, description="expression: true, for each row or for all, where both agree."
    )
    name: Text | None = Field(default=None, description="What the rule is called in results.")

    @model_validator(mode="after")
    def _keys_of_the_rule(self) -> Self:
        takes = {
            "close": {"absolute", "relative"},
            "cosine": {"least"},
            "ranking": {"least"},
            "top_k": {"k", "least"},
            "expression": {"expression"},
        }.get(self.rule, set())
        for key in ("absolute", "relative", "least", "k", "expression"):
            if getattr(self, key) is not None and key not in takes:
                raise ValueError(f"{key}: the rule {self.rule} has no such key")
        if self.rule == "top_k" and self.k is None:
            raise ValueError("k: expected how many, as the rule is top_k")
        if self.rule == "expression":
            if self.expression is None:
                raise ValueError("expression: expected one, as the rule is expression")
            if self.output is not None:
                raise ValueError("output: an expression names its outputs itself")
        elif self.output is None:
            raise ValueError("output: expected the name of one")
        return self


class Shadowing(Table):
    """`[rollout.shadow]`: what a candidate beside the version in production may take."""

    # A second of the largest messages at a hundred requests a second would be six gigabytes: what does not fit is
    # dropped and counted, and what is compared is a sample in any case.
    max_bytes: Bytes = Field(
        default=64 << 20,
        ge=1 << 16,
        le=1 << 36,
        description="Bytes of requests and answers that may wait for the candidate; more are dropped and counted.",
    )
    timeout_s: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="A candidate that takes longer over a batch counts as hung: the pair is an error on its side, "
        "and it is started again.",
    )
    # A candidate that leaks would in the end be killed by the system, and with it perhaps the server.
    max_memory: Bytes = Field(
        default=0,
        ge=0,
        le=1 << 44,
        description="Resident memory beyond which a candidate's process counts as leaking, and is started again; "
        "0: no bound.",
    )
    kept: int = Field(
        default=64, ge=0, le=10_000, description="Disagreements that are kept, over all grades of severity."
    )
    kept_bytes: Bytes = Field(
        default=64 << 20,
        ge=0,
        le=1 << 36,
        description="Bytes of requests and answers that are kept with them.",
    )


class Guardrail(Table):
    """`[[rollout.gate.guardrail]]`: one measure that a candidate must not be worse in."""

    on: Literal["error_rate", "slower_than", "disagreement"] = Field(
        description="error_rate: share of requests that fail; slower_than: share that takes longer than "
        "threshold_ms; disagreement: share of pairs that disagree (shadow only).",
    )
    threshold_ms: Annotated[Finite, Field(gt=0, le=3_600_000)] | None = Field(
        default=None, description="slower_than: the time, in milliseconds."
    )
    margin: Annotated[Finite, Field(gt=0, le=1)] = Field(
        description="Safe is a candidate that is worse by less than this, for certain."
    )
    harm: Annotated[Finite, Field(gt=0, le=1)] = Field(
        description="Harmful is a candidate that is worse by more than this, for certain."
    )

    @property
    def name(self) -> str:
        """What the guardrail is called in events, metrics and tables."""
        return self.on if self.threshold_ms is None else f"{self.on}_{self.threshold_ms:g}ms"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.harm < self.margin:
            raise ValueError(
                f"harm: expected at least the margin of {self.margin}, got {self.harm}: "
                "a candidate could be safe and harmful at once"
            )
        if (self.on == "slower_than") != (self.threshold_ms is not None):
            raise ValueError("threshold_ms: goes with slower_than, and slower_than with it")
        return self


class GateManifest(Table):
    """`[rollout.gate]`: what a candidate has to keep, and how sure one has to be; fixed before a rollout starts."""

    alpha: Annotated[Finite, Field(gt=0, lt=0.5)] = Field(
        default=0.05,
        description="Most chance of a wrong decision over a whole rollout, however often one looks.",
    )
    max_requests: int = Field(
        default=100_000,
        ge=100,
        le=1_000_000_000,
        description="Pairs, or requests of a canary's step, after which an undecided candidate is not promoted.",
    )
    promote: Literal["manual", "automatic"] = Field(
        default="manual",
        description="Whether a candidate that is safe becomes the default label's by itself.",
    )
    guardrail: tuple[Guardrail, ...] = Field(
        default=(), max_length=16, strict=False, description="The measures; without any there is no verdict."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [guardrail.name for guardrail in self.guardrail]
        if len(set(names)) != len(names):
            raise ValueError(f"guardrail: expected each once, got {', '.join(names)}")
        return self


class Rollout(Table):
    """`[rollout]` of model.toml."""

    default_label: Label = Field(
        default="champion", description="The label that answers where the caller names no version."
    )
    keep_warm_s: float = Field(
        default=3600.0,
        ge=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="Seconds for which the version that a label has left stays loaded, ready for a rollback.",
    )
    drill_every_s: float = Field(
        default=0.0,
        ge=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="Seconds between two rollback drills that the server makes by itself; 0: none.",
    )
    compare: tuple[CompareRule, ...] = Field(
        default=(),
        max_length=64,
        strict=False,
        description="When a candidate's answer agrees; not given: numbers are close, all else is equal.",
    )
    shadow: Shadowing = Field(default=Shadowing(), description="What a candidate in the shadow may take.")
    gate: GateManifest = Field(default=GateManifest(), description="What decides.")
