"""Labels and how they move: every move is an event first, and in force when the workers have said so."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steelyard.errors import Conflict, EvidenceError, InvalidRequest, ModelNotFound
from steelyard.evidence.event import Draft, Event
from steelyard.models.rollout import label_problem
from steelyard.observe.logs import log
from steelyard.rollout import labels as kinds
from steelyard.rollout.labels import Holder, Label, draft
from steelyard.supervisor.acting import SERVER
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.record import Record

# A name each for the roles that versions of one model have.
MAX_LABELS = 64

# After a disk did not take an event that nobody waits for.
RETRY_S = 5.0


class LabelMoves:
    """Sets, removes and rolls back labels.

    `ends` give the events of what a default label that moves ends, for the version that it moves to, None for none.
    """

    def __init__(self, record: Record, directing: Directing) -> None:
        self._record = record
        self._directing = directing
        self.ends: list[Callable[[str, Holder | None], Sequence[Draft]]] = []

    def labels(self, model: str = "") -> list[tuple[str, Label]]:
        """Models and labels, of one model or of all, by name. Raises ModelNotFound for an unknown `model`."""
        if model and model not in self._record.models:
            raise ModelNotFound(
                f"no label of model {model!r} stands for anything: it was never served from here"
            )
        names = [model] if model else self._record.models
        return [
            (name, label) for name in names for _, label in sorted(self._record.labels(name).labels.items())
        ]

    async def set(
        self, model: str, label: str, version: str, actor: str, reason: str, expected: int | None = None
    ) -> Event:
        """Moves `label` to the version that `version` names (a number, another label or a digest), and returns when
        it is in force.

        expected: the number of the version that the label has to stand for at that moment, else `Conflict`.
        Raises what keeps the version from being served, and LoadFailed where its golden examples fail.
        """
        if problem := label_problem(label):
            raise InvalidRequest(problem)
        if not version:
            raise InvalidRequest("expected a version, as its number, a label or a digest; came none")
        # Loaded without the model's lock: that may take minutes, and a rollback must not wait for it.
        async with self._directing.keeping(model, version) as ready, self._record.moving(model):
            known = self._record.labels(model).labels.get(label)
            _expect(model, known, label, expected)
            if known is None and len(self._record.labels(model).labels) >= MAX_LABELS:
                raise Conflict(f"model {model!r} has {MAX_LABELS} labels already: remove one first")
            move = self.draft_move(model, label, ready.holder, actor, reason)
            return (await self._directing.commit(model, [move, *self.endings(model, move)]))[0]

    def draft_move(self, model: str, label: str, holder: Holder, actor: str, reason: str) -> Draft:
        """The event of a label that moves to a version that is ready. Raises Conflict where it stands there, or that
        version retires."""
        known = self._record.labels(model).labels.get(label)
        self._refuse_retiring(model, holder)
        if known is not None and known.holder == holder and not known.follows:
            raise Conflict(f"model {model!r}: label {label} already stands for {holder}")
        return draft(kinds.SET, model, label, holder, None if known is None else known.holder, actor, reason)

    async def remove(self, model: str, label: str, actor: str, reason: str) -> Event:
        """Takes a label away; the default label follows the highest version again. Returns when it is in force."""
        async with self._record.moving(model):
            known = self.known(model, label)
            if known.follows:
                raise Conflict(
                    f"model {model!r}: nobody has set label {label}, it follows the highest version"
                )
            move = draft(kinds.REMOVED, model, label, None, known.holder, actor, reason)
            return (await self._directing.commit(model, [move, *self.endings(model, move)]))[0]

    async def roll_back(self, model: str, label: str, actor: str, reason: str) -> Event:
        """Moves a label (empty: the default one) to its previous holder, and returns when it is in force.

        Raises Conflict where there is none.
        """
        _, earlier = self.earlier(model, label)
        async with (
            self._directing.keeping(model, str(earlier.number)) as ready,
            self._record.moving(model),
        ):
            known, now = self.earlier(model, label)
            if now != earlier:
                raise Conflict(f"model {model!r}: label {known.name} was moved by somebody else meanwhile")
            check_content(model, earlier, ready.holder)
            self._refuse_retiring(model, earlier)
            move = draft(kinds.ROLLED_BACK, model, known.name, earlier, known.holder, actor, reason)
            return (await self._directing.commit(model, [move, *self.endings(model, move)]))[0]

    def _refuse_retiring(self, model: str, holder: Holder) -> None:
        if holder.number in self._record.life(model).retiring.retirements:
            raise Conflict(f"model {model!r}: {holder} goes out of service")

    def endings(self, model: str, move: Draft) -> list[Draft]:
        """The events of what `move` ends, which it is recorded together with."""
        if move.details["label"] != self._record.manifest(model).default_label:
            return []
        to = move.details["to"]
        holder = None if to is None else Holder.from_json(to)
        return [ending for ends in self.ends for ending in ends(model, holder)]

    def followed(self, moves: Sequence[Mapping[str, Any]]) -> None:
        """Records where default labels that nobody has set stand now, as a worker says."""
        drafts: list[Draft] = []
        # Versions that a worker keeps until it is told, and what a move ends, wait for a directive.
        waiting = {move["model"] for move in moves if move["from"] is not None}
        for move in moves:
            model, now = move["model"], Holder.from_json(move["to"])
            name = self._record.manifest(model).default_label
            known = self._record.labels(model).labels.get(name)
            if known is not None and (not known.follows or known.holder == now):
                continue
            before = known.holder if known is not None else None
            if before is None and move["from"] is not None:
                before = Holder.from_json(move["from"])
            reason = "it is the highest version that is ready"
            followed = draft(kinds.FOLLOWED, model, name, now, before, SERVER, reason)
            endings = self.endings(model, followed)
            drafts += [followed, *endings]
            if endings or self._directing.together:
                waiting.add(model)
        if drafts:
            try:
                self._record.append(drafts)
            except EvidenceError as error:
                log("followed.unrecorded", level=logging.ERROR, reason=str(error), pause_s=RETRY_S)
                asyncio.get_running_loop().call_later(RETRY_S, self.followed, moves)
                return
        for model in sorted(waiting):
            self._directing.put_in_force_later(model)

    def known(self, model: str, label: str) -> Label:
        """A label of a model; raises ModelNotFound where it stands for nothing."""
        known = self._record.labels(model).labels
        found = known.get(label)
        if found is None:
            names = ", ".join(sorted(known)) or "none"
            raise ModelNotFound(f"model {model!r} has no label {label!r}; there is: {names}")
        return found

    def default(self, model: str) -> Label:
        """The default label of a model; raises ModelNotFound where it stands for nothing."""
        return self.known(model, self._record.manifest(model).default_label)

    def has_left(self, model: str, holder: Holder) -> bool:
        """Whether the default label is known to stand for another version."""
        known = self._record.labels(model).labels.get(self._record.manifest(model).default_label)
        return known is not None and known.holder != holder

    def earlier(self, model: str, label: str) -> tuple[Label, Holder]:
        """A label (empty: the default one) and what it stood for before; raises Conflict where that is nothing."""
        known = self.known(model, label) if label else self.default(model)
        if not known.earlier:
            raise Conflict(
                f"model {model!r}: label {known.name} stands for {known.holder} and for nothing before it"
            )
        return known, known.earlier[-1]


def check_content(model: str, earlier: Holder, now: Holder) -> None:
    """Raises Conflict where a version has other content than it had."""
    if now != earlier:
        raise Conflict(
            f"model {model!r}: it was {earlier} before, and that has other content now, {now.digest[:19]}"
        )


def _expect(model: str, known: Label | None, label: str, expected: int | None) -> None:
    if expected is None:
        return
    came = "nothing" if known is None else str(known.holder)
    if known is None or known.holder.number != expected:
        raise Conflict(
            f"model {model!r}: expected label {label} to stand for version {expected}, it stands for {came}"
        )
