"""Labels and how they move: every move is an event first, and in force when the workers have said so."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steelyard.errors import Conflict, InvalidRequest, ModelNotFound, SteelyardError
from steelyard.evidence.event import Draft, Event
from steelyard.models.rollout import label_problem
from steelyard.rollout import labels as kinds
from steelyard.rollout.labels import Holder, Label, draft
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.record import SERVER, Record


class LabelMoves:
    """Sets, removes and rolls back labels. `left` hears of a model whose default label stands elsewhere now."""

    def __init__(self, record: Record, directing: Directing) -> None:
        self._record = record
        self._directing = directing
        self.left: Callable[[str], None] = lambda model: None

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
        # First without the model's lock: to load a version may take minutes, and a rollback must not wait for it.
        await self._directing.make_ready(model, version)
        async with self._record.moving(model):
            known = self._record.labels(model).labels.get(label)
            try:
                _expect(model, known, label, expected)
                ready = await self._directing.make_ready(model, version)
                return await self.move_to(model, label, ready.holder, actor, reason)
            except SteelyardError:
                # What was loaded for this may go again.
                self._directing.direct_later(model)
                raise

    async def move_to(self, model: str, label: str, holder: Holder, actor: str, reason: str) -> Event:
        """Moves a label of a model that is held to a version that is ready."""
        known = self._record.labels(model).labels.get(label)
        if known is not None and known.holder == holder and not known.follows:
            raise Conflict(f"model {model!r}: label {label} already stands for {holder}")
        before = None if known is None else known.holder
        return await self._move(draft(kinds.SET, model, label, holder, before, actor, reason))

    async def remove(self, model: str, label: str, actor: str, reason: str) -> Event:
        """Takes a label away; the default label follows the highest version again. Returns when it is in force."""
        async with self._record.moving(model):
            known = self.known(model, label)
            if known.follows:
                raise Conflict(
                    f"model {model!r}: nobody has set label {label}, it follows the highest version"
                )
            return await self._move(draft(kinds.REMOVED, model, label, None, known.holder, actor, reason))

    async def roll_back(self, model: str, label: str, actor: str, reason: str) -> Event:
        """Moves a label (empty: the default one) to its previous holder, and returns when it is in force.

        Raises Conflict where there is none.
        """
        async with self._record.moving(model):
            known, earlier = self.earlier(model, label)
            await self._directing.make_ready_again(model, earlier)
            return await self._move(
                draft(kinds.ROLLED_BACK, model, known.name, earlier, known.holder, actor, reason)
            )

    def followed(self, moves: Sequence[Mapping[str, Any]]) -> None:
        """Records where default labels that nobody has set stand now, as a worker says."""
        drafts = []
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
            drafts.append(draft(kinds.FOLLOWED, model, name, now, before, SERVER, reason))
        if drafts:
            self._record.append(drafts)
        for followed in drafts:
            self.left(followed.model)
        for model in dict.fromkeys(move["model"] for move in moves if move["from"] is not None):
            self._directing.direct_later(model)

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

    def earlier(self, model: str, label: str) -> tuple[Label, Holder]:
        """A label (empty: the default one) and what it stood for before; raises Conflict where that is nothing."""
        known = self.known(model, label) if label else self.default(model)
        if not known.earlier:
            raise Conflict(
                f"model {model!r}: label {known.name} stands for {known.holder} and for nothing before it"
            )
        return known, known.earlier[-1]

    async def _move(self, move: Draft) -> Event:
        """Records a move and puts it in force; is not given up halfway where the caller goes away."""

        async def commit() -> Event:
            event = self._record.append([move])[0]
            if event.details["label"] == self._record.manifest(move.model).default_label:
                self.left(move.model)
            await self._directing.direct(move.model)
            return event

        return await asyncio.shield(asyncio.ensure_future(commit()))


def _expect(model: str, known: Label | None, label: str, expected: int | None) -> None:
    if expected is None:
        return
    came = "nothing" if known is None else str(known.holder)
    if known is None or known.holder.number != expected:
        raise Conflict(
            f"model {model!r}: expected label {label} to stand for version {expected}, it stands for {came}"
        )
