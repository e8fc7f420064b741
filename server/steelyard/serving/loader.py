"""Keeps the catalog equal to the repository: loads, swaps and unloads, in the background."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from steelyard._native.observe import Segment
from steelyard.errors import (
    InvalidRequest,
    LoadFailed,
    ManifestError,
    ModelNotFound,
    RepositoryError,
    SteelyardError,
    Unavailable,
    VersionNotLoaded,
)
from steelyard.evidence.retirement import WHOLE
from steelyard.models.manifest import ModelManifest, read_model_manifest, unowned
from steelyard.models.names import name_problem, parse_version
from steelyard.models.repository import Fingerprint, Listing, VersionDir, scan
from steelyard.models.versions import wanted
from steelyard.observe.logs import log
from steelyard.rollout.directive import Directive
from steelyard.rollout.labels import Holder
from steelyard.runtime.pace import Pace
from steelyard.serving.catalog import Catalog
from steelyard.serving.entering import enter
from steelyard.serving.entries import ModelEntry, VersionState
from steelyard.serving.loading import Environment, LoadedVersion, load_version
from steelyard.serving.retiring import Retiring
from steelyard.serving.sightings import Sightings
from steelyard.serving.stays import Stays
from steelyard.serving.version import ServedVersion

# Why a version is served that has no files.
GONE = "its files are gone, and it goes on, as a label or a rollout stands for it"


@dataclass(frozen=True, slots=True)
class Followed:
    """A default label that nobody has set stands for another version now."""

    model: str
    before: Holder | None
    """None where nothing was served."""
    now: Holder


class Loader:
    """Owns which versions are loaded. All methods are called on the event loop; the work is done on loading threads.

    A version that is replaced goes on with the requests that it has accepted and is dropped with the last of them.
    Models that were unloaded by request stay out, whatever happens in the repository, until they are loaded by request.
    Versions that are held stay, with the content that they had, whatever the version policy and the files say.
    """

    def __init__(
        self,
        root: Path,
        catalog: Catalog,
        segment: Segment,
        environment: Environment,
        threads: int,
        kept_out: frozenset[str] = frozenset(),
        kept_out_changed: Callable[[frozenset[str]], None] | None = None,
        followed: Callable[[list[Followed]], None] | None = None,
    ) -> None:
        self.root = root
        self._catalog = catalog
        self._segment = segment
        self._environment = environment
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="load")
        self._kept_out = set(kept_out)
        self._kept_out_changed = kept_out_changed
        self._followed = followed
        # What default labels have followed to since the start began; told together when all is loaded.
        self._following: list[Followed] = []
        self._stays = Stays()
        # Versions that directives have changed something for, by model.
        self._unsettled: dict[str, set[int]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        # Held from a scan until its listing is in force: an older listing must not take the place of a newer one.
        self._scanning = asyncio.Lock()
        self._one_at_a_time = asyncio.Lock()
        self._sightings = Sightings()
        self._retiring = Retiring()
        # What was loaded, or tried, of each version: its files and its model's manifest.
        self._taken: dict[tuple[str, int], tuple[Fingerprint, Fingerprint | None]] = {}
        self.ready = False

    @property
    def listing(self) -> Listing:
        """What the repository held at the last look."""
        return self._sightings.listing

    async def load_all(self) -> None:
        """Loads what the repository holds now; afterwards the loader is ready, whatever failed to load."""
        self._sightings.begin(await self._scan())
        for name in self.listing.models:
            self._catalog.ensure(name)
        self._catalog.complete = True
        await asyncio.gather(*(self._apply(name) for name in self.listing.models))
        self.ready = True
        self._tell_followed()
        nobodys = [name for name, entry in self._served() if unowned(entry.manifest)]
        if nobodys:
            log("models.unowned", level=logging.WARNING, count=len(nobodys), some=nobodys[:5], profile="dev")

    async def watch(self, interval_s: float) -> None:
        """Looks at the repository every `interval_s` seconds, for ever, and takes up what has settled."""
        while True:
            await asyncio.sleep(interval_s)
            # A fault of ours must not end the watching: the next look may do better.
            try:
                await self.look()
            except Exception as error:
                log("repository.fault", level=logging.ERROR, exception=repr(error))

    async def look(self) -> None:
        """Looks at the repository once, and takes up what has changed and stood still since the last look."""
        try:
            async with self._scanning:
                listing = await self._scan()
                known = [(entry.name, number) for entry in self._catalog for number in entry.versions]
                changed = self._sightings.compare(listing, known)
        except RepositoryError as error:
            log("repository.unreadable", level=logging.ERROR, reason=str(error))
            return
        await asyncio.gather(*(self._apply(name, touched) for name, touched in changed.items()))

    async def load(self, name: str) -> None:
        """Loads or reloads a model by request. Raises what kept it from being ready."""
        problem = name_problem(name)
        if problem is not None:
            raise InvalidRequest(problem)
        async with self._scanning:
            self._sightings.listing = await self._scan()
            if name not in self.listing.models:
                own = [p.message for p in self.listing.problems if p.path.is_relative_to(self.root / name)]
                raise ModelNotFound(
                    f"no model {name!r} in the repository" + (f": {'; '.join(own)}" if own else "")
                )
            self._keep_out(name, False)
            self._sightings.settle(name)
        await self._apply(name, None, anew=True)
        entry = self._catalog.model(name)
        failed = [
            f"version {v.number}: {v.reason}"
            for v in entry.versions.values()
            if v.reason and v.state is not VersionState.UNLOADED
        ]
        if name in self._kept_out:
            raise Unavailable(f"model {name!r} was unloaded by another request meanwhile")
        if entry.reason or failed:
            raise LoadFailed(f"model {name!r} could not be loaded: {entry.reason or '; '.join(failed)}")

    def label(self, directive: Directive) -> bool:
        """Labels stand as `directive` says from the next request on. Gives whether `settle` has something to do."""
        name = directive.model
        changed, deferred = self._stays.hold(name, directive.hold, directive.keep)
        entry = self._catalog.model(name) if name in self._catalog else None
        before = None if entry is None else entry.next_default()
        self._catalog.label(name, directive.labels, directive.follow)
        governed = self._retiring.direct(name, directive.governed)
        for version in self._catalog.retire(name, directive.governed.retired) if governed else ():
            self._retire(version)
        if entry is None:
            return False
        for served in self._catalog.served(name).values() if governed else ():
            served.tell(self._retiring.trailing(name, served.number))
        self._notice(entry, before)
        for number in deferred:
            self._taken.pop((name, number), None)
        self._unsettled.setdefault(name, set()).update(changed)
        return bool(changed) or governed

    async def settle(self, name: str) -> None:
        """Loads what has to be held since the last directive, and lets go of what no longer has to."""
        if (changed := self._unsettled.pop(name, None)) is not None:
            await self._apply(name, changed)

    async def make_ready(self, name: str, version: str) -> ServedVersion:
        """The version that `version` names, loaded where it is in the repository and is not served yet.

        It stays until the next directive. Raises what kept it from being ready.
        """
        number = parse_version(version)
        try:
            served = self._catalog.route(name, version)
        except (ModelNotFound, VersionNotLoaded):
            if number is None or name in self._kept_out:
                raise
        else:
            self._stays.until_told(name, served.number)
            return served
        async with self._scanning:
            self._sightings.listing = await self._scan()
            there = self._sightings.settle_version(name, number)
        with self._stays.asked(name, number) if there else contextlib.nullcontext():
            await self._apply(name)
        known = self._catalog.model(name).versions.get(number)
        if known is not None and known.served is None and known.reason:
            raise LoadFailed(f"model {name!r} version {number} could not be loaded: {known.reason}")
        return self._catalog.route(name, version)

    async def unload(self, name: str) -> None:
        """Unloads a model by request and keeps it out."""
        self._catalog.model(name)
        self._keep_out(name, True)
        await self._apply(name)

    def close(self) -> None:
        """Ends the loading threads without waiting for what they do."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _told(self, error: Exception) -> str:
        """Why something could not be loaded, for callers: paths are told from the repository on."""
        reason = str(error) if isinstance(error, SteelyardError) else f"{type(error).__name__}: {error}"
        return reason.replace(f"{self.root}/", "")

    def _served(self) -> list[tuple[str, ServedVersion]]:
        return [(entry.name, served) for entry in self._catalog if (served := entry.default()) is not None]

    async def _scan(self) -> Listing:
        return await asyncio.get_running_loop().run_in_executor(self._pool, scan, self.root)

    def _keep_out(self, name: str, out: bool) -> None:
        (self._kept_out.add if out else self._kept_out.discard)(name)
        if self._kept_out_changed is not None:
            self._kept_out_changed(frozenset(self._kept_out))

    async def _apply(self, name: str, touched: Set[int] | None = frozenset(), *, anew: bool = False) -> None:
        """Makes what is served of `name` equal to what has settled of the last listing.

        touched: versions to load again where their files or their manifest are others than those that were loaded;
        None means all of them.
        anew: to load those in any case.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            directory = self.listing.models.get(name)
            if directory is None:
                self._remove_all(name)
                return
            entry = self._catalog.ensure(name)
            if name in self._kept_out:
                entry.reason = "unloaded by request"
                self._withdraw(entry, frozenset(), entry.reason)
                return
            try:
                manifest = read_model_manifest(directory.manifest_path)
            except (ManifestError, RepositoryError) as error:
                entry.reason = self._told(error)
                log("model.refused", level=logging.ERROR, model=name, reason=entry.reason)
                return
            retired = self._retiring.retired(name)
            entry.reason = retired.get(WHOLE, "")
            if entry.reason:
                return
            manifest = self._retiring.in_force(name, manifest)
            before = entry.next_default()
            present = {
                number: version
                for number, version in self._sightings.settled(name).items()
                if number not in retired
            }
            numbers = wanted(manifest.serving.versions, present)
            stay = self._stays.of(name) - retired.keys()
            self._catalog.arrange(name, manifest.rollout.default_label, stay - set(numbers))
            loads = []
            for number in sorted({*numbers, *(stay & present.keys())}):
                known = entry.versions.get(number)
                files = (present[number].fingerprint, directory.manifest_fingerprint)
                again = touched is None or number in touched
                if (
                    known is None
                    or known.served is None
                    or (again and (anew or self._taken.get((name, number)) != files))
                ):
                    self._taken[name, number] = files
                    loads.append(self._load(name, present[number], manifest))
            await asyncio.gather(*loads)
            if manifest.serving.versions.latest is not None:
                # The highest that can be loaded: a new version that cannot must not leave the model without any.
                for number in sorted(present.keys() - set(numbers), reverse=True):
                    if entry.has_wanted():
                        break
                    known = entry.versions.get(number)
                    if known is None or known.served is None:
                        await self._load(name, present[number], manifest)
                    if entry.versions[number].served is not None:
                        self._catalog.arrange(name, entry.default_label, entry.aside - {number})
            default = entry.next_default()
            if (
                entry.follows
                and before is not None
                and default is not before
                and manifest.rollout.keep_warm_s
            ):
                # Whoever hears that the label has followed says for how long.
                self._stays.until_told(name, before.number)
            stay = self._stays.of(name) - retired.keys()
            for number in entry.versions.keys() - self._sightings.numbers(name):
                self._gone(entry, number, number in stay)
            # Where a version could not be loaded, those that it would replace go on.
            if all(entry.versions[number].served is not None for number in numbers):
                self._withdraw(entry, stay | set(numbers), "not wanted by the version policy")
            self._notice(entry, before)

    def _gone(self, entry: ModelEntry, number: int, stays: bool) -> None:
        """A version whose files are no longer there: it is forgotten, unless it is held and in memory."""
        known = entry.versions[number]
        if not stays or known.served is None:
            self._forget(entry.name, number)
        elif known.reason != GONE:
            known.reason = GONE
            log("version.gone", level=logging.WARNING, model=entry.name, version=number, reason=GONE)

    def _notice(self, entry: ModelEntry, before: ServedVersion | None) -> None:
        """Tells where a default label that nobody has set stands now, or would if it did not wait for other workers, if
        that was elsewhere before."""
        now = entry.next_default()
        if now is None or now is before or not entry.follows:
            return
        old = None if before is None else Holder(before.number, before.digest)
        self._following.append(Followed(entry.name, old, Holder(now.number, now.digest)))
        if self.ready:
            self._tell_followed()

    def _tell_followed(self) -> None:
        following, self._following = self._following, []
        if following and self._followed is not None:
            self._followed(following)

    def _withdraw(self, entry: ModelEntry, wanted: Set[int], reason: str) -> None:
        """Stops serving the versions that are not wanted."""
        for number, known in entry.versions.items():
            if number not in wanted and known.state is not VersionState.UNLOADED:
                self._retire(self._catalog.withdraw(entry.name, number, VersionState.UNLOADED, reason))

    async def _load(self, name: str, version: VersionDir, manifest: ModelManifest) -> None:
        number = version.number
        self._catalog.begin(name, number)
        # Whatever is in one version, it must not keep the others from being loaded.
        try:
            self._retiring.refuse(name, number)
            loaded = await self._load_files(
                name, version.path, manifest, self._retiring.goes_on(name, number)
            )
            self._retiring.refuse(name, number)
            self._refuse_other_content(name, number, loaded)
            slot = self._segment.slot(name, str(number))
            served = enter(name, number, version.path, manifest, loaded, slot, self._environment.threads)
        except Exception as error:
            reason = self._told(error)
            self._catalog.fail(name, number, reason)
            log("version.failed", level=logging.ERROR, model=name, version=number, reason=reason)
            return
        served.tell(self._retiring.trailing(name, number))
        self._retire(self._catalog.install(served))
        log(
            "version.ready",
            level=logging.DEBUG if not self.ready and len(self.listing.models) > 50 else logging.INFO,
            model=name,
            version=number,
            digest=served.digest,
            **({"signer": served.signer} if served.signer else {}),
            device=served.device,
            batching=served.batching.allowed,
            batching_reason=served.batching.reason,
            max_rows=served.lane.limit_rows,
            **(
                {"ragged": loaded.ragged is not None, "ragged_reason": loaded.ragged_reason}
                if loaded.ragged_reason
                else {}
            ),
        )

    async def _load_files(
        self, name: str, path: Path, manifest: ModelManifest, goes_on: str | None
    ) -> LoadedVersion:
        """Loads on a loading thread: at the start on as many as there are, afterwards one version at a time, with
        pauses, so that it gives way to requests."""

        async def load(pace: Pace) -> LoadedVersion:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, load_version, name, path, manifest, self._environment, pace, goes_on
            )

        if not self.ready:
            return await load(Pace())
        async with self._one_at_a_time:
            return await load(Pace(giving_way=True))

    def _refuse_other_content(self, name: str, number: int, loaded: LoadedVersion) -> None:
        """Raises LoadFailed where the version is held with the content that it has in memory."""
        served = self._catalog.model(name).versions[number].served
        held = self._stays.held_digest(name, number)
        if served is not None and held == served.digest and loaded.digest != held:
            self._stays.defer(name, number)
            raise LoadFailed(
                f"its files have changed to {loaded.digest[:19]}, and a label or a rollout stands for {held[:19]}: "
                "give new content a new number"
            )

    def _remove_all(self, name: str) -> None:
        if name not in self._catalog:
            return
        for number in list(self._catalog.model(name).versions):
            self._forget(name, number)
        self._catalog.forget_model(name)

    def _forget(self, name: str, number: int) -> None:
        self._taken.pop((name, number), None)
        self._retire(self._catalog.forget(name, number))

    def _retire(self, replaced: ServedVersion | None) -> None:
        """A replaced version goes on with what it has accepted; the engine releases it with the last of that."""
        if replaced is not None:
            replaced.retired = True
            if not replaced.is_busy:
                replaced.release()
            log("version.retired", model=replaced.model, version=replaced.number, digest=replaced.digest)
