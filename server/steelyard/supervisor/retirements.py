"""Taking models and versions out of service: announced, then in force, then archived; and putting it off."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from steelyard.config import Settings
from steelyard.errors import Conflict, InvalidRequest, ModelNotFound, SteelyardError
from steelyard.evidence import retirement as kinds
from steelyard.evidence.event import Draft, Event
from steelyard.evidence.extension import contents_of, encoded, read_statement, verify
from steelyard.evidence.life import ModelLife
from steelyard.evidence.retirement import WHOLE, Retirement, is_later
from steelyard.evidence.tlog import log_origin
from steelyard.models.names import name_problem, parse_version
from steelyard.observe.logs import log
from steelyard.supervisor.acting import SERVER, named
from steelyard.supervisor.archiving import Archiving
from steelyard.supervisor.directing import Directing, Ready
from steelyard.supervisor.label_moves import LabelMoves
from steelyard.supervisor.record import Record

# A year: what takes longer has a retire_on.
MAX_GRACE_MS = 366 * 86_400_000

# Text that travels in a header of each answer, and in refusals.
MAX_REPLACEMENT_CHARS = 256

# In one error.
SHOWN_VERSIONS = 10

# How late a grace can end.
LOOKED_AT_S = 1.0


class Retirements:
    """Lives on the supervisor's event loop."""

    def __init__(self, record: Record, directing: Directing, moves: LabelMoves, settings: Settings) -> None:
        self._record = record
        self._directing = directing
        self._moves = moves
        self._settings = settings
        self._archiving = Archiving(record, settings)

    async def retire(
        self, model: str, version: int, replacement: str, grace_ms: int, actor: str, reason: str
    ) -> Event:
        """Announces the end of a version's service, or of a whole model's (`WHOLE`), and moves labels off the version.

        Returns when callers are warned; where there is no grace, when they are refused. replacement: a version of the
        same model, or what else callers are to ask; empty: what model.toml names.
        Raises ModelNotFound where it was never served from here, Conflict where it retires already or is a canary, or a
        label stands for it and no version takes its place, and what keeps that version from being served.
        """
        if problem := name_problem(model):
            raise InvalidRequest(problem)
        if not 0 <= grace_ms <= MAX_GRACE_MS:
            raise InvalidRequest(f"expected a grace of 0 to {MAX_GRACE_MS} ms, came {grace_ms}")
        life = self._known(model, version)
        replacement = replacement or life.governance.get("replacement", "")[:MAX_REPLACEMENT_CHARS]
        if len(replacement) > MAX_REPLACEMENT_CHARS:
            raise InvalidRequest(
                f"expected a replacement of at most {MAX_REPLACEMENT_CHARS} characters, came {len(replacement)}"
            )
        takes_over = self._taking_over(model, version, replacement)
        async with self._ready(model, takes_over) as ready, self._record.moving(model):
            life = self._known(model, version)
            if version in life.retiring.retirements or WHOLE in life.retiring.retirements:
                raise Conflict(f"{_name(model, version)} retires already")
            drafts = self._label_moves(model, version, ready, actor, reason)
            details = {
                "version": version,
                "replacement": replacement,
                "until_unix_ms": self._record.now_unix_ms() + grace_ms,
            }
            digest = life.versions[version].digest if version != WHOLE else ""
            announced = Draft(kinds.ANNOUNCED, model, actor, reason, digest, details)
            event = (await self._directing.commit(model, [announced, *drafts]))[0]
        if not grace_ms:
            await self._complete(model, version)
        return event

    async def cancel(self, model: str, version: int, actor: str, reason: str) -> Event:
        """Takes an announced retirement back. Raises Conflict where there is none, or it is in force."""
        async with self._record.moving(model):
            one = self._record.life(model).retiring.retirements.get(version)
            if one is None or one.completed_unix_ms:
                what = "is out of service already" if one else "does not retire"
                raise Conflict(f"{_name(model, version)} {what}")
            cancelled = Draft(kinds.CANCELLED, model, actor, reason, one.digest, {"version": version})
            return (await self._directing.commit(model, [cancelled]))[0]

    async def extend(self, statement: bytes, signature: bytes) -> Event:
        """Puts off a model's last day, as a signed statement says.

        Raises ConfigError where no keys are set that may sign, InvalidRequest for a signature by none of them, Conflict
        where the statement is for another server, or about another day or other versions than those in force.
        """
        if self._settings.retirement_keys is None:
            raise InvalidRequest(
                "no keys are set that may extend a model's service: name a file of them by retirement_keys"
            )
        found = read_statement(statement)
        key = verify(statement, signature, self._settings.retirement_keys)
        origin = log_origin(self._settings.data, self._settings.tlog_key)
        if found.origin != origin:
            raise Conflict(f"the statement is for the server of log {found.origin!r}, and this is {origin!r}")
        async with self._record.moving(found.model):
            life = self._record.life(found.model)
            now = life.retiring
            if now.retire_on is None:
                raise Conflict(f"model {found.model!r} has no retire_on that could be extended")
            if (now.retire_on, now.dated) != (found.before, found.dated):
                raise Conflict(
                    f"model {found.model!r}: the statement extends {found.before} as event {found.dated} set it, and "
                    f"in force is {now.retire_on} as event {now.dated} set it"
                )
            if found.contents != contents_of(life):
                raise Conflict(
                    f"model {found.model!r}: the statement is about {_versions(found.contents)}, and registered are "
                    f"{_versions(contents_of(life))}: sign it again"
                )
            if not is_later(found.retire_on, now.retire_on):
                raise InvalidRequest(f"expected a day after {now.retire_on}, came {found.retire_on}")
            details = {
                "retire_on": found.retire_on,
                "from": now.retire_on,
                "statement": statement.decode(),
                "signature": encoded(signature),
                "key": key,
            }
            extended = Draft(kinds.EXTENDED, found.model, named(found.actor), found.reason, details=details)
            return (await self._directing.commit(found.model, [extended]))[0]

    async def run(self) -> None:
        """Ends graces and archives, for ever: one beside the other, as archiving may take minutes."""
        # Cancelled, it ends when both have: what archiving started is gone then.
        async with asyncio.TaskGroup() as works:
            works.create_task(self._repeat(self._end_grace))
            works.create_task(self._repeat(self._archiving.step))

    async def _repeat(self, step: Callable[[str, Retirement], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(LOOKED_AT_S)
            for model, one in self._open():
                try:
                    await step(model, one)
                except SteelyardError as error:
                    log("retirement.waits", level=logging.WARNING, model=model, reason=str(error))
                except Exception as error:
                    # A fault of ours must not keep other models in service.
                    log("retirement.fault", level=logging.ERROR, model=model, exception=repr(error)[:2000])

    def _open(self) -> list[tuple[str, Retirement]]:
        return [
            (model, one)
            for model in self._record.models
            for one in self._record.life(model).retiring.retirements.values()
            if not one.archive or one.archive_problem
        ]

    async def _end_grace(self, model: str, one: Retirement) -> None:
        if not one.completed_unix_ms and self._record.now_unix_ms() >= one.until_unix_ms:
            await self._complete(model, one.version)

    async def _complete(self, model: str, version: int) -> None:
        """Has callers refused from now on; labels that came back to the version meanwhile are moved off again."""
        before = self._record.life(model).retiring.retirements[version]
        takes_over = self._taking_over(model, version, before.replacement)
        async with self._ready(model, takes_over) as ready, self._record.moving(model):
            one = self._record.life(model).retiring.retirements.get(version)
            if one is None or one.completed_unix_ms:
                return
            drafts = self._label_moves(model, version, ready, SERVER, f"{_name(model, version)} retires")
            if version == WHOLE:
                drafts += [ending for ends in self._moves.ends for ending in ends(model, None)]
            details = {"version": version, "replacement": one.replacement}
            completed = Draft(kinds.COMPLETED, model, SERVER, "its grace is over", one.digest, details)
            await self._directing.commit(model, [*drafts, completed])

    def _known(self, model: str, version: int) -> ModelLife:
        life = self._record.life(model)
        if not life.versions or (version != WHOLE and version not in life.versions):
            raise ModelNotFound(f"{_name(model, version)} was never served from here")
        return life

    def _taking_over(self, model: str, version: int, replacement: str) -> int | None:
        """The version of the same model that takes over; None where it is something else."""
        name, slash, number = replacement.rpartition("/")
        found = parse_version(number) if not slash or name == model else None
        if found is None:
            if replacement == model:
                raise InvalidRequest(
                    f"expected a replacement for {_name(model, version)}, came the same model"
                )
            return None
        if version in (WHOLE, found):
            raise InvalidRequest(
                f"expected a replacement for {_name(model, version)}, came version {found} of the same model"
            )
        return found

    @contextlib.asynccontextmanager
    async def _ready(self, model: str, version: int | None) -> AsyncIterator[Ready | None]:
        """The version, loaded in every worker until the end; None for none."""
        if version is None:
            yield None
        else:
            async with self._directing.keeping(model, str(version)) as ready:
                yield ready

    def _label_moves(
        self, model: str, version: int, ready: Ready | None, actor: str, reason: str
    ) -> list[Draft]:
        """The moves of labels off a version, and what they end."""
        if version == WHOLE:
            return []
        canary = self._record.trials(model).canary
        if canary is not None and canary.candidate.number == version:
            raise Conflict(f"{_name(model, version)} is a canary: stop it first")
        standing = [
            label
            for label in self._record.labels(model).labels.values()
            if label.holder.number == version and (ready is not None or not label.follows)
        ]
        if standing and ready is None:
            names = ", ".join(sorted(label.name for label in standing))
            raise Conflict(
                f"{_name(model, version)}: {names} stands for it: name the version of the model that takes its place"
            )
        drafts = []
        for label in standing:
            assert ready is not None
            move = self._moves.draft_move(model, label.name, ready.holder, actor, reason)
            drafts += [move, *self._moves.endings(model, move)]
        return drafts


def _versions(contents: Mapping[str, str]) -> str:
    """Versions as an error names them, each with the beginning of its digest."""
    shown = [f"{number} ({digest[:19]})" for number, digest in sorted(contents.items())]
    named = ", ".join(shown[:SHOWN_VERSIONS]) or "no versions"
    return named + (f" and {len(shown) - SHOWN_VERSIONS} more" if len(shown) > SHOWN_VERSIONS else "")


def _name(model: str, version: int) -> str:
    return f"model {model!r}" if version == WHOLE else f"model {model!r} version {version}"
