"""Names of models and numbers of versions."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.models.names import MAX_VERSION, name_problem, parse_version


@pytest.mark.parametrize(
    "name", ["a", "magika", "file-type_v3.3", "Ärger", "模型", "a b", "1", "x" * 255, "ä" * 127]
)
def test_legal_names(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        (".", "dot"),
        ("..", "dot"),
        (".hidden", "dot"),
        ("../x", "slash"),
        ("a..b", "'..'"),
        ("a/b", "slash"),
        ("/etc", "slash"),
        ("a\\b", "slash"),
        ("a\0b", "printed"),
        ("a\nb", "printed"),
        ("a\u2028b", "printed"),
        ("\u202ea", "printed"),
        (" a", "space"),
        ("a ", "space"),
        (os.fsdecode(b"a\xffb"), "UTF-8"),
        ("x" * 256, "256 bytes"),
        ("ä" * 128, "256 bytes"),
    ],
)
def test_illegal_names(name, why):
    problem = name_problem(name)
    assert problem is not None
    assert why in problem
    assert problem.isprintable()
    assert len(problem) < 200


@given(st.text())
def test_a_legal_name_is_one_visible_component_of_a_path(name):
    if name_problem(name) is None:
        assert os.path.basename(os.path.normpath(f"/repository/{name}")) == name
        assert not name.startswith(".")
        assert "\0" not in name


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("10", 10), (str(MAX_VERSION), MAX_VERSION)])
def test_versions(text, number):
    assert parse_version(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "01",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1.0",
        "1e3",
        "0x1",
        "١",
        "²",
        "v1",
        str(MAX_VERSION + 1),
        "9" * 5000,
    ],
)
def test_what_is_no_version(text):
    assert parse_version(text) is None


@given(st.integers(1, MAX_VERSION))
def test_every_version_is_its_own_decimal(number):
    assert parse_version(str(number)) == number
