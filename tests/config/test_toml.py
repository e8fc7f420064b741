"""TOML from outside: bounded, and refused in words."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from steelyard.errors import ManifestError
from steelyard.toml import MAX_TOML_BYTES, Bytes, describe_problems, did_you_mean, read_toml


def read(tmp_path: Path, raw: bytes) -> dict[str, object]:
    path = tmp_path / "x.toml"
    path.write_bytes(raw)
    return read_toml(path, ManifestError)


def test_an_empty_file_is_an_empty_document(tmp_path):
    assert read(tmp_path, b"") == {}


def test_nothing_there_is_the_callers_to_judge(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_toml(tmp_path / "x.toml", ManifestError)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"[serving", "not TOML"),
        (b"a = 1\na = 2", "not TOML"),
        (b"[a]\n[a]\n", "not TOML"),
        (b"a = \xff", "expected UTF-8, got byte 0xff at offset 4"),
        (b"a = " + b"[" * 100_000, "not TOML"),
        (b"a = " + b"9" * 10_000, "not TOML"),
        (b"\0", "not TOML"),
        (b"#" * (MAX_TOML_BYTES + 1), f"expected at most {MAX_TOML_BYTES} bytes"),
    ],
)
def test_what_is_no_toml_is_refused(tmp_path, raw, expected):
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, raw)
    assert expected in str(caught.value)
    assert str(tmp_path / "x.toml") in str(caught.value)


def test_a_link_that_leads_nowhere_is_no_missing_file(tmp_path):
    path = tmp_path / "x.toml"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(ManifestError, match="a link that leads nowhere"):
        read_toml(path, ManifestError)


def test_a_path_through_a_file_cannot_be_read(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ManifestError, match="cannot be read: Not a directory"):
        read_toml(tmp_path / "file" / "x.toml", ManifestError)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_refused(tmp_path_factory, raw):
    try:
        document = read(tmp_path_factory.getbasetemp(), raw)
    except ManifestError:
        return
    assert isinstance(document, dict)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    size: Bytes = 0
    count: int = 0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()


def problems(value: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    return describe_problems(caught.value, Outer)


def test_a_problem_names_its_table_and_the_nearest_key():
    assert problems({"inner": {"cuont": 1}}) == ["[inner] unknown key 'cuont', did you mean 'count'?"]
    assert problems({"iner": {}}) == ["unknown key 'iner', did you mean 'inner'?"]
    assert problems({"inner": {"zzz": 1}}) == ["[inner] unknown key 'zzz', known are: count, size"]


def test_numbers_too_large_to_write_are_shown_all_the_same():
    (problem,) = problems({"inner": {"count": 0.5, "size": 1 << 40_000} | {"count": [1 << 40_000]}})
    assert problem.startswith("[inner] count: expected a whole number, got")
    assert len(problem) < 200


def test_many_problems_are_cut_to_a_readable_message():
    lines = problems({"inner": {f"k{i}": i for i in range(1000)}})
    assert len(lines) == 9
    assert lines[-1] == "and 992 more"
    assert sum(map(len, lines)) < 2000


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("7 B", 7), ("64 MiB", 64 << 20), ("2GiB", 2 << 30), (" 1 KiB ", 1024), (5, 5)],
)
def test_bytes(text, size):
    assert Inner.model_validate({"size": text}).size == size


@pytest.mark.parametrize("text", ["", "1.5 MiB", "-1", "1 MB", "1e9", "MiB", "1" * 16, "٣", "1 KiB B", "inf"])
def test_bytes_that_are_none(text):
    assert problems({"inner": {"size": text}})[0].startswith("[inner] size: expected a number of bytes")


def test_a_long_key_does_not_make_a_long_search():
    assert did_you_mean("x" * 1_000_000, ["a", "b"]) == ", known are: a, b"
