"""What shadows run: a version's directory or a server elsewhere, and the process that does it."""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from steelyard.config import Settings
from steelyard.errors import InvalidRequest, ModelNotFound, SteelyardError
from steelyard.models.digest import version_digest
from steelyard.models.manifest import MODEL_MANIFEST, ModelManifest, read_model_manifest
from steelyard.models.names import DIGEST_PREFIX, digest_problem, parse_version
from steelyard.models.repository import GRAPH_FILE
from steelyard.rollout.labels import Holder
from steelyard.shadow.task import LocalTarget, RemoteTarget, ShadowTask
from steelyard.supervisor.directing import Ready
from steelyard.supervisor.shadow_process import ShadowProcess

Target = LocalTarget | RemoteTarget
Tolerances = Mapping[str, tuple[float, float]]

# Shadows whose files are kept after they have ended, the last ones.
FILES_KEPT = 20


class ShadowTargets:
    """Finds candidates in the repository, and makes processes and files for them in the data directory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._directory = settings.data / "shadows"

    def socket(self, key: str) -> Path:
        """Where the worker finds the process of a shadow."""
        return self._directory / f"{key}.sock"

    def report(self, key: str) -> Path:
        """What a shadow had seen when it ended, JSON."""
        return self._directory / f"{key}.json"

    def manifest(self, model: str) -> ModelManifest:
        """The model's manifest as it is now. Raises ManifestError."""
        return read_model_manifest(self._settings.repository / model / MODEL_MANIFEST)

    async def find(self, model: str, candidate: str, labels: Mapping[str, Holder]) -> tuple[LocalTarget, str]:
        """The version that `candidate` names (a number, one of `labels` or a digest), and its digest.

        Raises ModelNotFound where the repository has none, InvalidRequest for a digest that is too short, is none or
        begins those of several contents.
        """
        directory = self._settings.repository / model
        if candidate in labels:
            number: int | None = labels[candidate].number
        else:
            number = parse_version(candidate)
        if number is None and candidate.startswith(DIGEST_PREFIX):
            problem = digest_problem(candidate)
            if problem is not None:
                raise InvalidRequest(f"model {model!r}: {problem}")
            number = await asyncio.to_thread(_by_digest, directory, candidate)
        path = directory / str(number)
        if number is None or not (path / GRAPH_FILE).is_file():
            raise ModelNotFound(f"model {model!r} has no version {candidate[:80]!r} in the repository")
        return LocalTarget(number=number, path=path), await asyncio.to_thread(version_digest, path)

    def process(
        self,
        model: str,
        primary: Ready,
        manifest: ModelManifest,
        target: Target,
        tolerances: Tolerances,
        *,
        key: str = "",
        checkpoint: dict[str, Any] | None = None,
        calibrate: bool = False,
    ) -> ShadowProcess:
        """A process that is yet to be run. key: of a shadow that goes on; empty: a new one.

        checkpoint: what an earlier life of it had counted.
        """
        key = key or secrets.token_hex(6)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        settings = self._settings
        return ShadowProcess(
            ShadowTask(
                rollout=key,
                model=model,
                offered=primary.offered,
                manifest=manifest,
                candidate=target,
                socket=self.socket(key),
                tolerances=dict(tolerances),
                calibrate=calibrate,
                checkpoint=checkpoint or {},
                disagreements=None if calibrate else self._directory / f"{key}.sqlite",
                data=settings.data
                if "disagreement" in manifest.evidence.capture.reasons and not calibrate
                else None,
                profile=settings.profile,
                verdicts=settings.data / "verdicts",
                signers=settings.model_signers,
                max_message_bytes=settings.max_message_bytes,
                log_level=settings.log_level,
                log_format=settings.log_format,
            )
        )

    def forget_old(self, running: Set[str]) -> None:
        """Removes the files of shadows that ended long ago. running: keys of those that have not."""
        files = [path for path in self._directory.glob("*.sqlite") if path.stem not in running]
        for path in sorted(files, key=lambda path: path.stat().st_mtime)[: -FILES_KEPT or None]:
            for one in (path, self.report(path.stem)):
                with contextlib.suppress(OSError):
                    one.unlink(missing_ok=True)


def _by_digest(directory: Path, digest: str) -> int | None:
    """The highest version in `directory` whose digest begins with `digest`, None where there is none.

    Raises InvalidRequest where several contents have such digests.
    """
    if not directory.is_dir():
        return None
    numbers = [number for path in directory.iterdir() if (number := parse_version(path.name)) is not None]
    found: dict[str, int] = {}
    for number in sorted(numbers):
        with contextlib.suppress(SteelyardError):
            whole = version_digest(directory / str(number))
            if whole.startswith(digest):
                found[whole] = number
    if len(found) > 1:
        raise InvalidRequest(
            f"model {directory.name!r}: {digest} begins the digests of {len(found)} versions, give more of it"
        )
    return next(iter(found.values()), None)
