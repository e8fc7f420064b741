"""The admin service's part about who answers for models, and until when."""

from collections.abc import Awaitable, Callable
from typing import Any

from steelyard.errors import Conflict, InvalidRequest, ModelNotFound
from steelyard.evidence import declared, versions
from steelyard.evidence.declared import COMMAND, OWNER_CHANGED
from steelyard.evidence.event import Draft
from steelyard.evidence.versions import KnownVersion
from steelyard.models.names import DIGEST_PREFIX, digest_problem, parse_version
from steelyard.models.table import MAX_TEXT_CHARS
from steelyard.serving.messages import serialized
from steelyard.serving.methods import Methods
from steelyard.supervisor.acting import named
from steelyard.supervisor.admin import check_model, event_message
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.record import Record
from steelyard.supervisor.retirements import Retirements
from steelyard.wire.admin import SERVICE
from steelyard.wire.generated import admin as pb


class GovernanceAdmin:
    """Handlers over approvals, owners and retirements."""

    def __init__(self, record: Record, directing: Directing, retirements: Retirements) -> None:
        self._record = record
        self._directing = directing
        self._retirements = retirements

    def register(self, methods: Methods) -> None:
        """Puts the handlers into the table."""
        handlers: dict[str, tuple[Any, Callable[[Any], Awaitable[Any]]]] = {
            "Approve": (pb.ApproveRequest, self._approve),
            "SetOwner": (pb.SetOwnerRequest, self._set_owner),
            "Retire": (pb.RetireRequest, self._retire),
            "CancelRetirement": (pb.CancelRetirementRequest, self._cancel),
            "ExtendRetirement": (pb.ExtendRetirementRequest, self._extend),
        }
        for name, (message, handle) in handlers.items():
            methods.unary[SERVICE + name] = serialized(message, handle)

    async def _approve(self, request: Any) -> Any:
        check_model(request.model)
        async with self._record.moving(request.model):
            known = self._version(request.model, request.version)
            if known.approval is not None:
                raise Conflict(
                    f"model {request.model!r} version {known.number} was approved already, by {known.approval.actor}"
                )
            approved = Draft(
                versions.APPROVED,
                request.model,
                named(request.who.actor),
                request.who.reason,
                known.digest,
                {"version": known.number},
            )
            return event_message((await self._directing.commit(request.model, [approved]))[0])

    async def _set_owner(self, request: Any) -> Any:
        check_model(request.model)
        given = {"owner": request.owner, "backup_owner": request.backup_owner}
        for key, value in given.items():
            if len(value) > MAX_TEXT_CHARS or (value and not value.strip()):
                raise InvalidRequest(f"{key}: expected a text of 1 to {MAX_TEXT_CHARS} characters")
        if not any(given.values()):
            raise InvalidRequest("expected an owner, or a backup owner")
        async with self._record.moving(request.model):
            life = self._record.life(request.model)
            if not life.versions:
                raise ModelNotFound(f"model {request.model!r} was never served from here")
            now = {**life.governance, **{key: value for key, value in given.items() if value}}
            changed = declared.changes(life.governance, now)
            if not changed:
                raise Conflict(f"model {request.model!r}: it is so already")
            kinds = dict.fromkeys(changed, OWNER_CHANGED)
            who = request.who
            drafts = declared.drafts(
                request.model, changed, kinds, named(who.actor), COMMAND, who.reason, binding=False
            )
            return event_message((await self._directing.commit(request.model, drafts))[0])

    async def _retire(self, request: Any) -> Any:
        who = request.who
        retired = self._retirements.retire(
            request.model,
            request.version,
            request.replacement,
            request.grace_ms,
            named(who.actor),
            who.reason,
        )
        return event_message(await retired)

    async def _cancel(self, request: Any) -> Any:
        check_model(request.model)
        who = request.who
        return event_message(
            await self._retirements.cancel(request.model, request.version, named(who.actor), who.reason)
        )

    async def _extend(self, request: Any) -> Any:
        return event_message(await self._retirements.extend(request.statement, request.signature))

    def _version(self, model: str, version: str) -> KnownVersion:
        """The registered version that a number, a label or a digest names."""
        known = self._record.life(model).versions
        if version.startswith(DIGEST_PREFIX):
            if problem := digest_problem(version):
                raise InvalidRequest(problem)
            found = [one for one in known.values() if one.digest.startswith(version)]
        else:
            label = self._record.labels(model).labels.get(version)
            number = label.holder.number if label is not None else parse_version(version)
            found = [one for one in known.values() if one.number == number]
        if len(found) != 1:
            names = ", ".join(map(str, sorted(known))) or "none"
            raise ModelNotFound(f"model {model!r} has no version {version[:128]!r}; registered: {names}")
        return found[0]
