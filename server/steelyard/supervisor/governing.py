"""What is declared of models and of the server, and the days on which models go out of service, as events."""

import asyncio
import datetime
import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from steelyard import __version__
from steelyard.config import Settings
from steelyard.errors import SteelyardError
from steelyard.evidence import declared, retirement
from steelyard.evidence.declared import CONFIGURATION_CHANGED, MANIFEST, SETTINGS
from steelyard.evidence.event import Draft
from steelyard.evidence.life import ModelLife
from steelyard.evidence.retirement import WARNED_DAYS
from steelyard.models.governance import utc_date
from steelyard.models.manifest import ModelManifest
from steelyard.observe.logs import log
from steelyard.supervisor.acting import SERVER
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.manifests import Manifests
from steelyard.supervisor.record import Record

# A manifest is looked at about as often as the repository, and a day begins to the second that anybody plans by.
LOOKED_AT_S = 5.0


class Governing:
    """Looks at manifests and dates, and records what has changed. Lives on the supervisor's event loop."""

    def __init__(self, record: Record, directing: Directing, settings: Settings) -> None:
        self._record = record
        self._directing = directing
        self._settings = settings
        self._manifests = Manifests(settings.repository)
        self._looking = asyncio.Lock()

    def begin(self) -> None:
        """Records that the server starts, and what is set otherwise than the last time. Raises EvidenceError."""
        now = _shown(self._settings)
        changed = declared.changes(self._record.life("").configuration, now)
        kinds = dict.fromkeys(changed, CONFIGURATION_CHANGED)
        reason = "the settings that the server was started with"
        started = Draft(
            retirement.SERVER_STARTED,
            "",
            SERVER,
            "it was started",
            details={
                "release": __version__,
                "profile": self._settings.profile,
                "workers": self._settings.workers,
            },
        )
        self._record.append([started, *declared.drafts("", changed, kinds, SERVER, SETTINGS, reason)])

    async def look(self, models: Sequence[str] = ()) -> None:
        """Looks at the manifests of these models, or of all, and at their dates."""
        async with self._looking:
            found = await asyncio.to_thread(self._manifests.look, models or self._record.models)
            for model, manifest in found.items():
                try:
                    await self._declare(model, manifest)
                except Exception:
                    self._manifests.forget(model)
                    raise
            for model in models or self._record.models:
                await self._date(model)

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            try:
                await self.look()
            except Exception as error:
                # A fault of ours, or of the disk, must not end the looking.
                known = isinstance(error, SteelyardError)
                reason = str(error) if known else repr(error)[:2000]
                log("governance.fault", level=logging.ERROR, reason=reason)
            await asyncio.sleep(LOOKED_AT_S)

    async def _declare(self, model: str, manifest: ModelManifest) -> None:
        drafts = declarations(
            model, self._record.life(model), manifest, self._settings.profile == "production"
        )
        if drafts:
            async with self._record.moving(model):
                await self._directing.commit(model, drafts)

    async def _date(self, model: str) -> None:
        today = utc_date(self._record.now_unix_ms() * 1_000_000)
        enforced = self._settings.profile == "production"
        if not _due(model, self._record.life(model), today, enforced):
            return
        async with self._record.moving(model):
            drafts = _due(model, self._record.life(model), today, enforced)
            if drafts:
                await self._directing.commit(model, drafts)


def declarations(model: str, life: ModelLife, manifest: ModelManifest, binding: bool) -> list[Draft]:
    """The events of what model.toml says now and did not say before.

    binding: whether a later `retire_on` than the one in force needs an extension.
    """
    now = manifest.governance.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    governance = declared.changes(life.manifest, now)
    kinds = {key: declared.kind_of(key) for key in governance}
    reason = "model.toml says so"
    drafts = declared.drafts(model, governance, kinds, SERVER, MANIFEST, reason, binding=binding)
    rest = manifest.model_dump(mode="json", exclude_defaults=True, exclude={"governance"})
    configuration = declared.changes(life.configuration, declared.flat(rest))
    kinds = dict.fromkeys(configuration, CONFIGURATION_CHANGED)
    return drafts + declared.drafts(model, configuration, kinds, SERVER, MANIFEST, reason)


def _due(model: str, life: ModelLife, today: datetime.date, enforced: bool) -> list[Draft]:
    """The event of a day that has come: a warning, or the end of the last day. enforced: whether that ends anything."""
    retiring = life.retiring
    if retiring.retire_on is None or retiring.reached is not None:
        return []
    days = (datetime.date.fromisoformat(retiring.retire_on) - today).days
    replacement = life.governance.get("replacement", "")
    if days < 0 and enforced:
        after = life.governance.get("after_retirement", "serve")
        running = {str(one.number): one.digest for one in life.versions.values() if one.loaded}
        details: dict[str, Any] = {
            "retire_on": retiring.retire_on,
            "after": after,
            "replacement": replacement,
            "goes_on": running if after == "serve" else {},
        }
        reason = f"{retiring.retire_on} (UTC) was its last day"
        return [Draft(retirement.REACHED, model, SERVER, reason, details=details)]
    # Of those that it is late for, only the one that it is the least late for.
    passed = min((limit for limit in WARNED_DAYS if days <= limit), default=None)
    if passed is None or (retiring.warned_days is not None and retiring.warned_days <= passed):
        return []
    details = {"retire_on": retiring.retire_on, "days": passed, "replacement": replacement}
    left = f"{days} days until its last" if days >= 0 else f"{-days} days after its last"
    return [Draft(retirement.WARNED, model, SERVER, f"{left}, {retiring.retire_on} (UTC)", details=details)]


def _shown(settings: Settings) -> dict[str, Any]:
    """Settings that are not the defaults, as events tell them."""
    shown = settings.model_dump(mode="json", exclude_defaults=True)
    if settings.webhook_url is not None:
        # The rest of it may be a secret.
        shown["webhook_url"] = urlsplit(settings.webhook_url).hostname
    return declared.flat(shown)
