"""model.toml with keys changed: what it says is right, and everything else is as it was written."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import ManifestError, RepositoryError
from steelyard.models.manifest import MODEL_MANIFEST, read_model_manifest
from steelyard.tune.candidate import Candidate, current
from steelyard.tune.edit import differing, editable, edited, write_over

BASE = Candidate(2, 1, 64, 0, False, "all")
candidates = st.builds(
    Candidate,
    st.integers(1, 256),
    st.integers(1, 64),
    st.integers(1, 1000),
    st.integers(0, 10_000),
    st.booleans(),
    st.sampled_from(["all", "extended"]),
)

WRITTEN = """\
# The classifier of the front page.
[governance]
owner = "web@example.org"   # who is asked

[serving]  # how
max_batch = 32  # as much as the queue needs
# nothing else is known
device = "cpu"

# by the release of May
[serving.golden]
interval_s = 60.0

[rollout]
"""


def test_a_key_is_changed_where_it_stands_and_added_where_it_belongs():
    text = edited(WRITTEN, {("serving", "max_batch"): 4, ("serving", "instances"): 1})
    assert "max_batch = 4  # as much as the queue needs\n" in text
    assert 'device = "cpu"\ninstances = 1\n\n# by the release of May\n' in text
    assert [line for line in WRITTEN.splitlines() if line not in text.splitlines()] == [
        "max_batch = 32  # as much as the queue needs"
    ]


@given(
    st.sampled_from(["", WRITTEN, "[serving.golden]\ninterval_s = 1.0\n", "[rollout]", "# none"]), candidates
)
def test_a_manifest_says_what_was_chosen_and_keeps_all_lines(text: str, one: Candidate):
    changed = differing(one, BASE)
    made = edited(text, changed)
    assert edited(made, changed) == made
    assert editable(text)
    said = tomllib.loads(made)["serving"]
    for (_, *path), value in changed.items():
        found = said
        for key in path:
            found = found[key]
        assert found == value
    kept = [line for line in text.splitlines() if not line.startswith("max_batch")]
    assert [line for line in made.splitlines() if line in kept and line] == [line for line in kept if line]


def test_what_was_written_is_how_the_model_is_served(tmp_path: Path):
    one = Candidate(1, 2, 4, 500, True, "extended")
    (tmp_path / MODEL_MANIFEST).write_text(edited(WRITTEN, differing(one, BASE)))
    manifest = read_model_manifest(tmp_path / MODEL_MANIFEST)
    assert current(manifest.serving, 2) == one
    assert manifest.governance.owner == "web@example.org"


@pytest.mark.parametrize(
    "text",
    [
        "serving.max_batch = 3\n",
        "serving = { max_batch = 3 }\n",
        '[serving]\ndevice = """cpu"""\nmax_batch = """\n3"""\n',
    ],
)
def test_what_is_written_in_another_way_is_left_alone(text: str):
    with pytest.raises(ManifestError, match=r"set by hand: serving\.max_batch = 4"):
        edited(text, {("serving", "max_batch"): 4})
    assert not editable(text)


def test_a_file_that_was_changed_meanwhile_is_left_alone(tmp_path: Path):
    path = tmp_path / MODEL_MANIFEST
    write_over(path, "", "first\n")
    path.chmod(0o640)
    write_over(path, "first\n", "second\n")
    assert path.read_text() == "second\n"
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(RepositoryError, match="changed meanwhile"):
        write_over(path, "first\n", "third\n")
    assert [one.name for one in tmp_path.iterdir()] == [MODEL_MANIFEST]
    target = tmp_path / "mounted.toml"
    target.write_text("a\n")
    link = tmp_path / "link.toml"
    link.symlink_to(target)
    write_over(link, "a\n", "b\n")
    assert link.is_symlink()
    assert target.read_text() == "b\n"
