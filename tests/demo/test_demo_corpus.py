"""Which files are found, and in which order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from steelyard.demo import corpus
from steelyard.demo.corpus import FoundFile, default_roots, find_files
from steelyard.demo.features import FeatureSpec
from steelyard.demo.questions import choose


def make(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        path.chmod(0o644)


def found(*roots, exclude=()):
    return [file.path for file in find_files(roots, exclude)]


def test_one_of_each_suffix_a_round_and_the_commonest_first(tmp_path):
    make(tmp_path, ["a/1.txt", "a/2.txt", "b/3.txt", "b/1.py", "b/2.PY", "c/x"])
    paths = [path.removeprefix(f"{tmp_path}/") for path in found(tmp_path)]
    assert paths == ["a/1.txt", "b/1.py", "c/x", "b/3.txt", "b/2.PY", "a/2.txt"]


def test_the_same_order_every_time(tmp_path):
    make(tmp_path, [f"{d}/{n}.{s}" for d in "abc" for n in range(5) for s in ("py", "txt", "c")])
    assert found(tmp_path) == found(tmp_path)


def test_a_file_below_two_roots_is_found_once(tmp_path):
    make(tmp_path, ["a/1.txt", "2.txt"])
    assert sorted(found(tmp_path, tmp_path / "a")) == [f"{tmp_path}/2.txt", f"{tmp_path}/a/1.txt"]


def test_what_is_passed_over(tmp_path):
    make(tmp_path, ["kept.txt", "excluded.txt", "private.txt", "moves\x1b[2Jthe cursor.txt"])
    (tmp_path / "private.txt").chmod(0o600)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "link.txt").symlink_to("kept.txt")
    (tmp_path / "nowhere.txt").symlink_to("missing.txt")
    with (tmp_path / "large.txt").open("wb") as stream:
        stream.truncate(corpus.MAX_FILE_BYTES + 1)
    assert list(find_files([tmp_path], [f"{tmp_path}/excluded.txt"])) == [
        FoundFile(f"{tmp_path}/kept.txt", b"kept.txt")
    ]


def test_a_large_directory_of_one_kind_leaves_room_for_others(tmp_path):
    make(tmp_path, [*(f"a/{n:03}.txt" for n in range(50)), "b/1.txt"])
    paths = found(tmp_path)
    assert len(paths) == corpus.MAX_FILES_A_DIRECTORY + 1
    assert f"{tmp_path}/b/1.txt" in paths


@given(st.integers(0, 300))
def test_spread_is_a_permutation(count):
    names = [str(n) for n in range(count)]
    assert Counter(corpus._spread(names)) == Counter(names)


def test_spread_puts_neighbours_far_apart():
    assert "".join(corpus._spread("abcdefgh")) == "aecgbdfh"


def test_this_machine_has_enough_files_of_enough_kinds():
    questions = choose(find_files(default_roots()), FeatureSpec.packaged(), 300)
    assert len(questions.asked) == 300
    assert len({question.file.path for question in questions.asked}) == 300


def test_files_too_small_for_the_model_are_counted():
    files = [FoundFile("small", b"1234567"), FoundFile("blank", b" " * 100), FoundFile("right", b"12345678")]
    questions = choose(files, FeatureSpec.packaged(), 10)
    assert [question.file.path for question in questions.asked] == ["right"]
    assert questions.too_small == 2
