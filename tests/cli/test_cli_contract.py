"""`steelyard contract infer`: what it writes and prints, and what it leaves as it is."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.main import main
from steelyard.models.profile import read_profile
from steelyard.models.version_manifest import read_version_manifest
from steelyard.pipelines.tabular.declaration import ColumnTable

ROWS = "hour,carrier,delay,late\n5,UA,2.5,true\n6,AA,NA,false\n5,UA,-1,false\n7,AA,,true\n"
INFER = ["contract", "infer"]


@pytest.fixture
def data(tmp_path: Path) -> str:
    (tmp_path / "training.csv").write_text(ROWS)
    return str(tmp_path / "training.csv")


def columns(document: dict[str, Any]) -> dict[str, ColumnTable]:
    (given,) = document["input"]
    (step,) = given["steps"]
    assert step["step"] == "table"
    return {column["name"]: ColumnTable.model_validate(column) for column in step["column"]}


def test_the_columns_are_printed(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INFER, data, "--target", "late", "--rows", "json", "--slack", "0.5"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert '[[input.steps.column]]\nname = "hour"' in out
    document = tomllib.loads(out)
    assert document["input"][0]["steps"][0]["rows"] == "json"
    found = columns(document)
    assert {name: column.kind for name, column in found.items()} == {
        "hour": "integer",
        "carrier": "text",
        "delay": "number",
    }
    assert (found["hour"].contract.min, found["hour"].contract.max) == (4, 8)
    assert (found["delay"].contract.min, found["delay"].contract.max) == (-2.75, 4.25)
    assert {name: column.contract.missing for name, column in found.items()} == {
        "hour": "refuse",
        "carrier": "refuse",
        "delay": "null",
    }


def test_a_version_is_begun(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    version = tmp_path / "1"
    version.mkdir()
    assert main([*INFER, data, "--version", str(version)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Wrote {version}/version.toml: 4 rows, 4 columns",
        f"Wrote {version}/profile.json: 4 rows, 4 columns",
    ]
    assert read_version_manifest(version / "version.toml").input[0].name == "rows"
    profile = read_profile(version / "profile.json")
    assert profile is not None
    assert [column.name for column in profile.columns] == ["hour", "carrier", "delay", "late"]


def test_nothing_is_overwritten(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    version = tmp_path / "1"
    version.mkdir()
    (version / "version.toml").write_text("batched = true\n")
    assert main([*INFER, data, "--version", str(version)]) == 0
    out, err = capsys.readouterr()
    assert set(columns(tomllib.loads(out))) == {"hour", "carrier", "delay", "late"}
    assert err == f"Wrote {version}/profile.json: 4 rows, 4 columns\n"
    assert (version / "version.toml").read_text() == "batched = true\n"
    written = (version / "profile.json").read_text()
    assert main([*INFER, data, "--version", str(version)]) == 2
    assert "profile.json: cannot be written: File exists" in capsys.readouterr().err
    elsewhere = ["--output", str(tmp_path / "c.toml"), "--profile", str(tmp_path / "p.json")]
    assert main([*INFER, data, "--version", str(version), *elsewhere]) == 0
    assert (tmp_path / "p.json").read_text() == written
    assert set(columns(tomllib.loads((tmp_path / "c.toml").read_text()))) == {
        "hour",
        "carrier",
        "delay",
        "late",
    }
    assert main([*INFER, data, *elsewhere]) == 2


def test_json_for_programs(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dates.csv").write_text("when,never\n2013-01-01,\n2013-01-02T05:00:00Z,\n")
    profile = str(tmp_path / "p.json")
    assert main([*INFER, str(tmp_path / "dates.csv"), "--json", "--profile", profile]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    said = json.loads(out)
    assert (said["rows"], said["columns"], said["written"]) == (2, 2, [profile])
    assert said["notes"] == ["column 'never': has no value, so its kind text is a guess"]
    when, never = said["document"]["input"][0]["steps"][0]["column"]
    assert when == {
        "name": "when",
        "kind": "date",
        "contract": {
            "min": "2013-01-01T00:00:00+00:00",
            "max": "2013-01-02T05:00:00+00:00",
            "missing": "refuse",
        },
    }
    assert (never["missing_texts"], never["required"]) == ([""], False)


def test_notes_are_for_people_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,\n2,\n")
    assert main([*INFER, str(tmp_path / "x.csv")]) == 0
    assert capsys.readouterr().err == "note: column 'b': has no value, so its kind text is a guess\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Empty CSV"),
        (b"a\n", "expected at least one row, came none"),
        (b"\x7fELF\0\0", "expected CSV in UTF-8 or Parquet, came neither"),
        (b"a,a\n1,2\n", "expected every column's name once"),
    ],
)
def test_data_that_is_wrong(
    tmp_path: Path, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").write_bytes(content)
    profile = tmp_path / "p.json"
    assert main([*INFER, str(tmp_path / "x"), "--profile", str(profile)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {tmp_path}/x: ")
    assert said in err
    assert not profile.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--slack", "-1"],
        ["--slack", "nan"],
        ["--allowed", "1001"],
        ["--delimiter", ""],
        ["--delimiter", ", "],
        ["--delimiter", '"'],
        ["--rows", "table"],
        ["--version", "/does/not/exist"],
        ["--missing-text", "x" * 2000],
        ["--profile", "/does/not/exist/p.json"],
        ["--output", "/proc/c.toml"],
    ],
)
def test_wrong_usage(data: str, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INFER, data, *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_all_is_written_or_nothing(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = str(tmp_path / "nowhere" / "p.json")
    assert main([*INFER, data, "--output", str(tmp_path / "c.toml"), "--profile", nowhere]) == 2
    assert f"{nowhere}: cannot be written: No such file or directory" in capsys.readouterr().err
    assert not (tmp_path / "c.toml").exists()


def test_no_such_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INFER, "/does/not/exist.csv"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_manifest_that_no_server_would_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"{n:03}" + "x" * 250 for n in range(900)]
    names = [f"c{n}" for n in range(10)]
    lines = [",".join(names), *(",".join([word] * len(names)) for word in [*words, *words])]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    assert main([*INFER, str(tmp_path / "x.csv"), "--allowed", "1000"]) == 2
    assert "lower --allowed" in capsys.readouterr().err
    assert main([*INFER, str(tmp_path / "x.csv")]) == 0


def test_without_pyarrow_the_extra_is_named(data: str) -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None; "
        "from steelyard.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", program, *INFER, data], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'steelyard[data]'" in done.stderr


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INFER, "--help"]) == 0
    assert "steelyard contract infer training.parquet" in capsys.readouterr().out
