"""Keeps the catalog equal to the repository: loads, swaps and unloads, in the background."""

import asyncio
import logging
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from steelyard._native.observe import Segment
from steelyard.errors import (
    InvalidRequest,
    ManifestError,
    ModelNotFound,
    RepositoryError,
    SteelyardError,
    Unavailable,
)
from steelyard.models.manifest import ModelManifest, read_model_manifest, unowned
from steelyard.models.names import name_problem
from steelyard.models.repository import Listing, ModelDir, scan
from steelyard.models.versions import wanted
from steelyard.models.watcher import Watcher
from steelyard.observe.logs import log
from steelyard.scheduling.lane import Lane
from steelyard.serving.catalog import Catalog, VersionState
from steelyard.serving.loading import Environment, LoadedVersion, load_version
from steelyard.serving.version import ServedVersion


class Loader:
    """Owns which versions are loaded. All methods are called on the event loop; the work is done on loading threads.

    A version that is replaced goes on with the requests that it has accepted and is dropped with the last of them.
    Models that were unloaded by request stay out, whatever happens in the repository, until they are loaded by request.
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
    ) -> None:
        self.root = root
        self._catalog = catalog
        self._segment = segment
        self._environment = environment
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="load")
        self._kept_out = set(kept_out)
        self._kept_out_changed = kept_out_changed
        self._locks: dict[str, asyncio.Lock] = {}
        self._watcher = Watcher()
        self.listing = Listing({}, ())
        self.ready = False

    async def load_all(self) -> None:
        """Loads what the repository holds now; afterwards the loader is ready, whatever failed to load."""
        self.listing = await self._scan()
        self._watcher = Watcher(self.listing)
        for problem in self.listing.problems:
            log("repository.problem", level=logging.WARNING, path=str(problem.path), reason=problem.message)
        await asyncio.gather(*(self._apply(name) for name in self.listing.models))
        self.ready = True
        nobodys = [name for name, entry in self._served() if unowned(entry.manifest)]
        if nobodys:
            log("models.unowned", level=logging.WARNING, count=len(nobodys), some=nobodys[:5], profile="dev")

    async def watch(self, interval_s: float) -> None:
        """Looks at the repository every `interval_s` seconds, for ever, and takes up what has settled."""
        while True:
            await asyncio.sleep(interval_s)
            await self.look()

    async def look(self) -> None:
        """Looks at the repository once, and takes up what has changed and stood still since the last look."""
        try:
            listing = await self._scan()
        except RepositoryError as error:
            log("repository.unreadable", level=logging.ERROR, reason=str(error))
            return
        known = {problem.path for problem in self.listing.problems}
        for problem in listing.problems:
            if problem.path not in known:
                log(
                    "repository.problem",
                    level=logging.WARNING,
                    path=str(problem.path),
                    reason=problem.message,
                )
        self.listing = listing
        changes = self._watcher.observe(listing)
        changed: dict[str, set[int] | None] = {}
        for change in changes:
            number = getattr(change, "version", None)
            touched = changed.setdefault(change.model, set())
            if number is None:
                changed[change.model] = None
            elif touched is not None:
                touched.add(number)
        await asyncio.gather(*(self._apply(name, touched) for name, touched in changed.items()))

    async def load(self, name: str) -> None:
        """Loads or reloads a model by request. Raises what kept it from being ready."""
        problem = name_problem(name)
        if problem is not None:
            raise InvalidRequest(problem)
        self.listing = await self._scan()
        self._watcher = Watcher(self.listing)
        if name not in self.listing.models:
            own = [p.message for p in self.listing.problems if p.path.is_relative_to(self.root / name)]
            raise ModelNotFound(
                f"no model {name!r} in the repository" + (f": {'; '.join(own)}" if own else "")
            )
        self._keep_out(name, False)
        await self._apply(name, None)
        entry = self._catalog.model(name)
        failed = [f"version {v.number}: {v.reason}" for v in entry.versions.values() if v.reason]
        if entry.reason or failed:
            raise Unavailable(f"model {name!r} could not be loaded: {entry.reason or '; '.join(failed)}")

    async def unload(self, name: str) -> None:
        """Unloads a model by request and keeps it out."""
        self._catalog.model(name)
        self._keep_out(name, True)
        await self._apply(name)

    def close(self) -> None:
        """Ends the loading threads without waiting for what they do."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _served(self) -> list[tuple[str, ServedVersion]]:
        return [(entry.name, served) for entry in self._catalog if (served := entry.default()) is not None]

    async def _scan(self) -> Listing:
        return await asyncio.get_running_loop().run_in_executor(self._pool, scan, self.root)

    def _keep_out(self, name: str, out: bool) -> None:
        (self._kept_out.add if out else self._kept_out.discard)(name)
        if self._kept_out_changed is not None:
            self._kept_out_changed(frozenset(self._kept_out))

    async def _apply(self, name: str, touched: Set[int] | None = frozenset()) -> None:
        """Makes what is served of `name` equal to the last listing.

        touched: versions to load anew although they are loaded; None means all of them.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            directory = self.listing.models.get(name)
            if directory is None:
                self._remove_all(name)
                return
            entry = self._catalog.ensure(name)
            try:
                manifest = read_model_manifest(directory.manifest_path)
            except (ManifestError, RepositoryError) as error:
                entry.reason = str(error)
                log("model.refused", level=logging.ERROR, model=name, reason=entry.reason)
                return
            entry.reason = ""
            numbers = (
                []
                if name in self._kept_out
                else wanted(manifest.serving.versions, [v.number for v in directory.versions])
            )
            present = {version.number for version in directory.versions}
            loads = []
            for number in numbers:
                known = entry.versions.get(number)
                if known is None or known.served is None or touched is None or number in touched:
                    loads.append(self._load(directory, number, manifest))
            await asyncio.gather(*loads)
            for number in list(entry.versions):
                if number not in present:
                    self._retire(self._catalog.forget(name, number))
                elif number not in numbers and entry.versions[number].state is not VersionState.UNLOADED:
                    reason = (
                        "unloaded by request"
                        if name in self._kept_out
                        else "not wanted by the version policy"
                    )
                    self._retire(self._catalog.withdraw(name, number, VersionState.UNLOADED, reason))

    async def _load(self, directory: ModelDir, number: int, manifest: ModelManifest) -> None:
        name = directory.name
        path = next(version.path for version in directory.versions if version.number == number)
        self._catalog.begin(name, number)
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(
                self._pool, load_version, name, path, manifest, self._environment
            )
        except SteelyardError as error:
            self._catalog.fail(name, number, str(error))
            log("version.failed", level=logging.ERROR, model=name, version=number, reason=str(error))
            return
        except MemoryError:
            self._catalog.fail(name, number, "out of memory")
            log("version.failed", level=logging.ERROR, model=name, version=number, reason="out of memory")
            return
        served = self._serve(name, number, manifest, loaded)
        self._retire(self._catalog.install(served))
        log(
            "version.ready",
            level=logging.DEBUG if not self.ready and len(self.listing.models) > 50 else logging.INFO,
            model=name,
            version=number,
            digest=served.digest,
            device=served.device,
            batching=served.batching.allowed,
            batching_reason=served.batching.reason,
            max_rows=served.lane.limit_rows,
        )

    def _serve(self, name: str, number: int, manifest: ModelManifest, loaded: LoadedVersion) -> ServedVersion:
        served = ServedVersion(
            model=name,
            number=number,
            digest=loaded.digest,
            manifest=manifest,
            version_manifest=loaded.version_manifest,
            spec=loaded.spec,
            device=loaded.device,
            session=loaded.session,
            batching=loaded.batching,
            lane=Lane(name, loaded.policy, loaded.cost),
            slot=self._segment.slot(name, str(number)),
            bindable=loaded.bindable,
            default_timeout_ns=manifest.serving.default_timeout_ms * 1_000_000,
        )
        served.lane.owner = served
        return served

    def _remove_all(self, name: str) -> None:
        if name not in self._catalog:
            return
        for number in list(self._catalog.model(name).versions):
            self._retire(self._catalog.forget(name, number))

    def _retire(self, replaced: ServedVersion | None) -> None:
        """A replaced version needs nothing done: its lane is served until it is empty, then nothing refers to it."""
        if replaced is not None:
            log("version.retired", model=replaced.model, version=replaced.number, digest=replaced.digest)
