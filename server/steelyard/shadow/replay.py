"""A disagreement again: the kept request, run by both versions, beside what they answered then."""

from dataclasses import dataclass

from steelyard.errors import Unavailable
from steelyard.rollout.comparison import Comparison, Pair
from steelyard.rollout.disagreement_file import Disagreement
from steelyard.rollout.frames import Asked
from steelyard.shadow.answers import decoded
from steelyard.shadow.candidate import Candidate, Outcome
from steelyard.shadow.process import rows_of


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it; None where a side has no answer to compare."""

    between: Pair | None
    """The primary's new answer, and the candidate's."""
    primary: Pair | None
    """The primary's answer then, and its new one."""
    candidate: Pair | None
    """The candidate's answer then, and its new one."""
    primary_error: str
    candidate_error: str
    """What a version failed with now, empty where it answered."""

    @property
    def is_reproduced(self) -> bool:
        """Whether the two still disagree, or a side fails that failed then."""
        return self.between is None or not self.between.agrees


def replay(
    kept: Disagreement, primary: Candidate, candidate: Candidate, comparison: Comparison, batched: bool
) -> Replay:
    """Runs the request of a disagreement by both, each by itself.

    Raises `Unavailable` where a side is on a server that cannot be asked now.
    """
    asked = [Asked(kept.listed.decision_id, kept.request, b"")]
    now = [side.run(asked).outcomes[0] for side in (primary, candidate)]
    for outcome in now:
        if outcome.unmet:
            raise Unavailable(outcome.error)

    def pair(one: bytes | str, other: bytes | str) -> Pair | None:
        if isinstance(one, str) or isinstance(other, str):
            return None
        left, right = decoded(one), decoded(other)
        if left is None or right is None:
            return None
        return comparison.compare(left, right, rows_of(left, batched))

    answers = [_answer(outcome) for outcome in now]
    return Replay(
        between=pair(answers[0], answers[1]),
        primary=pair(kept.primary, answers[0]),
        candidate=pair(kept.candidate, answers[1]),
        primary_error=answers[0] if isinstance(answers[0], str) else "",
        candidate_error=answers[1] if isinstance(answers[1], str) else "",
    )


def _answer(outcome: Outcome) -> bytes | str:
    return outcome.answer if outcome.status == 0 else outcome.error
