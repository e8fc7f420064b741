"""What a gate says at one moment, and what may follow on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Verdict(Enum):
    """What is known of a candidate."""

    UNDECIDED = "undecided"
    SAFE = "safe"
    HARMFUL = "harmful"
    EXHAUSTED = "exhausted"
    """Undecided after the most requests that it may take: it is not promoted."""


# Once decided, decided: a later look cannot take a promotion or a rollback back.
TRANSITIONS: dict[Verdict, frozenset[Verdict]] = {
    Verdict.UNDECIDED: frozenset({Verdict.SAFE, Verdict.HARMFUL, Verdict.EXHAUSTED}),
    Verdict.SAFE: frozenset(),
    Verdict.HARMFUL: frozenset(),
    Verdict.EXHAUSTED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class GuardrailLook:
    """One guardrail at a look; means and bounds are of how much worse the candidate is."""

    name: str
    n: int
    """Pairs, or requests of both arms."""
    mean: float
    lower: float
    """Holds with its part of α for the harmful verdict."""
    upper: float
    """Holds with the step's part of α for the safe verdict."""
    margin: float
    harm: float


@dataclass(frozen=True, slots=True)
class Look:
    """The gate at one moment."""

    verdict: Verdict
    n: int
    """The most observations that any guardrail has."""
    decided_by: str
    """The guardrail whose harm was found; empty for the other verdicts, to which all belong."""
    guardrails: tuple[GuardrailLook, ...]


_FIELDS: Mapping[str, type] = {
    "name": str,
    "n": int,
    "mean": float,
    "lower": float,
    "upper": float,
    "margin": float,
    "harm": float,
}


def look_to_json(look: Look) -> dict[str, Any]:
    """A look as events and `--json` show it."""
    return {
        "verdict": look.verdict.value,
        "n": look.n,
        "decided_by": look.decided_by,
        "guardrails": [{field: getattr(g, field) for field in _FIELDS} for g in look.guardrails],
    }


def look_from_json(value: object) -> Look:
    try:
        match value:
            case {"verdict": verdict, "n": int(n), "decided_by": str(by), "guardrails": list(guardrails)}:
                return Look(Verdict(verdict), n, by, tuple(map(_guardrail_from_json, guardrails)))
    except TypeError as exc:
        raise ValueError(f"expected a look, got {repr(value)[:200]}") from exc
    raise ValueError(f"expected a look, got {repr(value)[:200]}")


def _guardrail_from_json(value: Any) -> GuardrailLook:
    if not isinstance(value, dict) or any(type(value.get(f)) is not kind for f, kind in _FIELDS.items()):
        raise ValueError(f"expected a guardrail's {', '.join(_FIELDS)}, got {repr(value)[:200]}")
    return GuardrailLook(**value)
