"""profile.json: what is read again, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from steelyard.errors import ManifestError
from steelyard.models.profile import PROFILE, Profile, profile_text, read_profile
from tests.support.profiles import integers, profile


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    made = Profile.model_validate_json(json.dumps(profile(integers("hour", 1, 2, 2, 5))))
    (tmp_path / PROFILE).write_text(profile_text(made))
    assert read_profile(tmp_path / PROFILE) == made
    assert len((tmp_path / PROFILE).read_text().splitlines()) == 3


def test_no_file_is_no_profile(tmp_path: Path) -> None:
    assert read_profile(tmp_path / PROFILE) is None


def edited(**changes: Any) -> dict[str, Any]:
    return profile(integers("hour", 1, 2)) | changes


def numbers_edited(**changes: Any) -> dict[str, Any]:
    column = integers("hour", 1, 2)
    return profile(column | {"numbers": column["numbers"] | changes})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (edited(format=2), "format: expected 1, got 2"),
        (edited(rows=-1), "rows: expected at least 0, got -1"),
        (edited(extra=1), "unknown key 'extra'"),
        (profile(integers("a", 1), integers("a", 1)), "columns: expected each once"),
        (profile(integers("a", 1) | {"kind": "float"}), "kind"),
        (numbers_edited(histogram={"edges": [0, 1], "counts": []}), "expected one edge more than counts"),
        (numbers_edited(histogram={"edges": [1, 0], "counts": [1]}), "edges: expected ascending numbers"),
        (numbers_edited(deciles={"edges": [0, 1], "counts": [1]}), "expected one count more than edges"),
        (numbers_edited(sample=0), "sample"),
    ],
)
def test_wrong_profiles_are_refused(tmp_path: Path, document: dict[str, Any], said: str) -> None:
    (tmp_path / PROFILE).write_text(json.dumps(document))
    with pytest.raises(ManifestError) as raised:
        read_profile(tmp_path / PROFILE)
    assert str(tmp_path / PROFILE) in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"junk", b"[1]", b'{"format": NaN}', b"\xff"])
def test_what_is_no_profile_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PROFILE).write_bytes(content)
    with pytest.raises(ManifestError, match=PROFILE):
        read_profile(tmp_path / PROFILE)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / PROFILE).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ManifestError, match="is a link that leads nowhere"):
        read_profile(tmp_path / PROFILE)
    (tmp_path / "d").mkdir()
    with pytest.raises(ManifestError, match="cannot be read"):
        read_profile(tmp_path / "d")
