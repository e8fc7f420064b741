"""Which version of a repository a shadow's candidate is."""

from pathlib import Path

import pytest

from steelyard.config import Settings
from steelyard.errors import InvalidRequest, ModelNotFound
from steelyard.models.digest import version_digest
from steelyard.supervisor import shadow_targets
from steelyard.supervisor.shadow_targets import ShadowTargets
from tests.support import models


@pytest.fixture
def targets(tmp_path: Path) -> ShadowTargets:
    for number, factor in ((1, 1.0), (2, 2.0), (3, 2.0)):
        models.put(tmp_path, "m", models.scaled(factor), number)
    return ShadowTargets(Settings(repository=tmp_path, data=tmp_path / "data"))


async def test_versions_with_the_same_content_are_one(targets: ShadowTargets, tmp_path: Path) -> None:
    whole = version_digest(tmp_path / "m" / "2")
    for digest in (whole, whole[:19]):
        found, its_own = await targets.find("m", digest, {})
        assert (found.number, its_own) == (3, whole)


@pytest.mark.parametrize("length", [7, 8, 18])
async def test_a_digest_that_is_too_short_is_refused(
    targets: ShadowTargets, tmp_path: Path, length: int
) -> None:
    with pytest.raises(InvalidRequest, match="12 to 64 lower-case hexadecimal digits"):
        await targets.find("m", version_digest(tmp_path / "m" / "2")[:length], {})


@pytest.mark.parametrize("digest", ["sha256:" + "A" * 12, "sha256:" + "0" * 65, "sha256:" + "0" * 11 + "g"])
async def test_what_is_no_digest_is_refused(targets: ShadowTargets, digest: str) -> None:
    with pytest.raises(InvalidRequest, match="12 to 64 lower-case hexadecimal digits"):
        await targets.find("m", digest, {})


async def test_what_begins_the_digests_of_several_contents_is_refused(
    targets: ShadowTargets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_targets, "version_digest", lambda path: "sha256:" + path.name.rjust(64, "0"))
    with pytest.raises(InvalidRequest, match="begins the digests of 3 versions"):
        await targets.find("m", "sha256:" + "0" * 12, {})


async def test_a_digest_that_nothing_has(targets: ShadowTargets) -> None:
    with pytest.raises(ModelNotFound):
        await targets.find("m", "sha256:" + "0" * 12, {})
