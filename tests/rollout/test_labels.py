"""Labels as the events say them, against a list of moves that one could keep by hand."""

import string

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from steelyard.evidence.event import Draft, Event
from steelyard.rollout.directive import Directive
from steelyard.rollout.labels import (
    DRILLED,
    FOLLOWED,
    PASSED,
    REMOVED,
    ROLLED_BACK,
    SET,
    Holder,
    ModelLabels,
    applied,
    draft,
    fold,
)

HOLDERS = [
    Holder(number, f"sha256:{letter * 64}") for number, letter in enumerate(string.ascii_lowercase[:5], 1)
]


def event(sequence: int, drafted: Draft) -> Event:
    return Event(
        sequence,
        sequence * 1000,
        drafted.kind,
        drafted.model,
        "ann",
        "why",
        drafted.digest,
        drafted.details,
        "",
    )


class Moves(RuleBasedStateMachine):
    """Any order of moves that the supervisor would make of one model's labels."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.stacks: dict[str, list[Holder]] = {}
        self.set_by_hand: set[str] = set()
        self.left: dict[Holder, int] = {}

    def record(self, kind: str, label: str, to: Holder | None, before: Holder | None) -> None:
        drafted = draft(kind, "m", label, to, before, "ann", "why")
        self.events.append(event(len(self.events) + 1, drafted))
        if before is not None and before != to:
            self.left[before] = self.events[-1].unix_ms
        if to is not None:
            self.left.pop(to, None)

    @property
    def labels(self) -> ModelLabels:
        return fold(self.events).get("m", ModelLabels())

    @rule(label=st.sampled_from(["champion", "challenger"]), holder=st.sampled_from(HOLDERS))
    def set_label(self, label: str, holder: Holder) -> None:
        stack = self.stacks.setdefault(label, [])
        before = stack[-1] if stack else None
        if before != holder:
            stack.append(holder)
        self.set_by_hand.add(label)
        self.record(SET, label, holder, before)

    @precondition(lambda self: "champion" not in self.set_by_hand)
    @rule(holder=st.sampled_from(HOLDERS))
    def follow(self, holder: Holder) -> None:
        stack = self.stacks.setdefault("champion", [])
        before = stack[-1] if stack else None
        if before == holder:
            return
        stack.append(holder)
        self.record(FOLLOWED, "champion", holder, before)

    @rule(label=st.sampled_from(["champion", "challenger"]))
    def roll_back(self, label: str) -> None:
        stack = self.stacks.get(label, [])
        if len(stack) < 2:
            return
        before = stack.pop()
        self.set_by_hand.add(label)
        self.record(ROLLED_BACK, label, stack[-1], before)

    @rule(label=st.sampled_from(["champion", "challenger"]))
    def remove(self, label: str) -> None:
        stack = self.stacks.get(label, [])
        if not stack or label not in self.set_by_hand:
            return
        self.record(REMOVED, label, None, stack[-1])
        self.stacks[label] = []
        self.set_by_hand.discard(label)

    @invariant()
    def labels_stand_where_the_moves_left_them(self) -> None:
        found = self.labels.labels
        assert {name: label.holder for name, label in found.items()} == {
            name: stack[-1] for name, stack in self.stacks.items() if stack
        }
        for name, label in found.items():
            assert list(label.earlier) == self.stacks[name][:-1]
            assert label.follows == (name not in self.set_by_hand)

    @invariant()
    def what_was_left_is_warm_until_its_time_is_over(self) -> None:
        labels = self.labels
        standing = {label.holder for label in labels.labels.values()}
        left = {holder: ms for holder, ms in self.left.items() if holder not in standing}
        now = len(self.events) * 1000
        assert labels.warm(now, 1500) == {holder: ms + 1500 for holder, ms in left.items() if ms + 1500 > now}
        assert not labels.warm(now, 0)

    @invariant()
    def one_by_one_is_all_at_once(self) -> None:
        labels = ModelLabels()
        for moved in self.events:
            labels = applied(labels, moved)
        assert labels == self.labels


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)


def drilled(outcome: str, sequence: int) -> Event:
    return event(sequence, Draft(DRILLED, "m", "ann", "why", details={"outcome": outcome}))


def test_a_drill_moves_nothing_and_only_a_good_one_counts():
    labels = fold([event(1, draft(SET, "m", "champion", HOLDERS[0], None, "ann", "why"))])["m"]
    after = applied(labels, drilled(PASSED, 2))
    assert after.labels == labels.labels
    assert (after.drilled_unix_ms, after.tried_unix_ms) == (2000, 2000)
    after = applied(after, drilled("3 requests failed", 3))
    assert (after.drilled_unix_ms, after.tried_unix_ms) == (2000, 3000)


def test_a_directive_travels():
    directive = Directive("m", {"champion": HOLDERS[1]}, {2: HOLDERS[1].digest, 1: HOLDERS[0].digest})
    assert Directive.from_json(directive.to_json()) == directive
