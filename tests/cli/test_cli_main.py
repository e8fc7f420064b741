"""The command line as a whole: its commands, their help, and how each of them ends."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from steelyard import __version__
from steelyard.cli.main import COMMANDS, commands, main

DOCS = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
THERE = [name for name, (place, _) in COMMANDS.items() if find_spec(place.partition(":")[0]) is not None]


def command(name: str) -> click.Command:
    found = commands.get_command(click.Context(commands), name)
    assert found is not None
    return found


def section(name: str) -> str:
    """The part of docs/commands.md about a command."""
    found = re.search(rf"^## `steelyard {name}.*?(?=^## |\Z)", DOCS, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/commands.md has no section about {name}"
    return found[0]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for name, (_, purpose) in COMMANDS.items():
        assert re.search(rf"{name}\s+{re.escape(purpose)}", out)


@pytest.mark.parametrize("name", THERE)
def test_help_of_a_command(name: str, capsys: pytest.CaptureFixture[str]):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert COMMANDS[name][1] in out
    assert "Example:\n    steelyard" in out or "Example:\n    echo" in out or "Example:\n    make" in out
    assert "--json" in out


@pytest.mark.parametrize("name", THERE)
def test_every_command_and_option_is_documented(name: str):
    text = section(name)
    for parameter in command(name).params:
        if isinstance(parameter, click.Option):
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert f"`{option}" in text, f"docs/commands.md does not name {option} of {name}"


def test_no_command_is_documented_that_is_not_there():
    assert set(re.findall(r"^## `steelyard (\w+)", DOCS, re.MULTILINE)) == set(COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"steelyard {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--bogus"], ["infer", "--help"]])
def test_nothing_is_imported_that_is_not_needed(arguments: list[str]):
    heavy = ["grpc", "numpy", "onnxruntime", "rich", "asyncio"] + (
        ["pydantic"] if arguments[0] == "--help" else []
    )
    program = (
        "import sys; from steelyard.cli.main import main; main(sys.argv[2:]); "
        "print([m for m in sys.argv[1].split(',') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, ",".join(heavy), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = done.stdout.splitlines()[-1]
    if arguments[0] == "serve":
        # Serving needs the event loop, whatever its options are.
        imported = imported.replace("'asyncio'", "")
    assert imported == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["serve", "--bogus"],
        ["serve", "a", "b"],
        ["serve", "--workers", "many"],
        ["serve", "--workers", "65"],
        ["serve", "--front", "http3"],
        ["serve", "--grpc-address", "nowhere"],
        ["serve", "--max-message-bytes", "much"],
        ["serve", "--profile", "test"],
        ["serve", "--config", "/does/not/exist.toml"],
        ["serve", "/does/not/exist"],
        ["config", "--poll-interval-s", "-1"],
        ["add"],
        ["add", "/does/not/exist.onnx", "--name", "m"],
        ["check"],
        ["check", "/does/not/exist"],
        ["models", "--address", "nowhere"],
        ["models", "--repository", "/does/not/exist"],
        ["infer"],
        ["infer", "m", "--classes", "0"],
        ["infer", "m", "--input", "X"],
        ["infer", "m", "--input", "X=1", "--input", "X=2"],
        ["infer", "m", "--shape", "X=a,b"],
        ["infer", "m", "--shape", "X=-1"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    plain = capsys.readouterr()
    assert plain.out == ""
    assert plain.err.startswith("error: ")
    assert plain.err.count("\n") == 1
    assert main([*arguments, "--json"]) == 2
    for_programs = capsys.readouterr()
    assert for_programs.out == ""
    assert f"error: {json.loads(for_programs.err)['error']}\n" == plain.err


@pytest.mark.parametrize("arguments", [["infer", "m", "--input", "X=1"], ["infer", "m", "--data", "."]])
def test_no_server_is_running(arguments: list[str], capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert "no server is running with the data directory" in capsys.readouterr().err


def test_whoever_reads_may_stop(tmp_path: Path):
    program = "import sys; from steelyard.cli.main import main; sys.exit(main(['config', '--json']))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")


def test_errors_stay_on_one_printable_line(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "--address", "a\n\x1b[31mb"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err
