"""docs/manifest.md names every key with its default, and its examples and its digest are right."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from steelyard.models.contract import Contract
from steelyard.models.digest import version_digest
from steelyard.models.evidence import Evidence
from steelyard.models.governance import Governance
from steelyard.models.manifest import (
    BatchTolerance,
    GoldenRuns,
    Serving,
    SessionOptions,
    VersionPolicy,
    read_model_manifest,
    unowned,
)
from steelyard.models.rollout import CompareRule, GateManifest, Guardrail, Rollout, Shadowing
from steelyard.models.table import Table
from steelyard.models.version_manifest import (
    InputManifest,
    Lineage,
    OutputManifest,
    VersionManifest,
    read_version_manifest,
)

PAGE = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text(encoding="utf-8")
TABLES: list[tuple[str, type[Table]]] = [
    ("### `[serving]`", Serving),
    ("#### `[serving.batch_tolerance]`", BatchTolerance),
    ("#### `[serving.versions]`", VersionPolicy),
    ("#### `[serving.session_options]`", SessionOptions),
    ("#### `[serving.golden]`", GoldenRuns),
    ("### `[rollout]`", Rollout),
    ("#### `[[rollout.compare]]`", CompareRule),
    ("#### `[rollout.shadow]`", Shadowing),
    ("#### `[rollout.gate]`", GateManifest),
    ("#### `[[rollout.gate.guardrail]]`", Guardrail),
    ("### `[governance]`", Governance),
    ("### `[evidence]`", Evidence),
    ("## version.toml", VersionManifest),
    ("### `[[input]]`", InputManifest),
    ("### `[[output]]`", OutputManifest),
    ("### `[lineage]`", Lineage),
    ("#### `[input.contract]`", Contract),
]

NEEDED = {InputManifest: {"name": "x"}, OutputManifest: {"name": "x"}, CompareRule: {"output": "x"}}


def rows(heading: str) -> dict[str, str]:
    section = PAGE.split(f"\n{heading}\n")[1]
    section = re.split(r"\n#{2,4} ", section)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE))


@pytest.mark.parametrize(("heading", "table"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_key_is_there_and_no_other(heading, table):
    assert set(rows(heading)) == set(table.model_fields)


@pytest.mark.parametrize(("heading", "table"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_defaults_are_those_of_the_code(heading, table):
    for key, cell in rows(heading).items():
        field = table.model_fields[key]
        if not cell.startswith("`"):
            assert field.is_required() or field.default is None, key
            continue
        written = tomllib.loads(f"x = {cell.strip('`')}")["x"]
        given = NEEDED.get(table, {})
        assert getattr(table.model_validate({**given, key: written}), key) == field.default, key


@pytest.mark.parametrize(("heading", "table"), [pair for pair in TABLES if pair[1] is not VersionManifest])
def test_every_key_describes_itself(heading, table):
    assert all(field.description for field in table.model_fields.values())


def test_the_examples_are_manifests(tmp_path):
    for name in ("model.toml", "version.toml"):
        (example,) = re.findall(rf"```toml {name}\n(.*?)```", PAGE, re.DOTALL)
        (tmp_path / name).write_text(example)
    assert unowned(read_model_manifest(tmp_path / "model.toml")) == []
    assert read_version_manifest(tmp_path / "version.toml").output[0].labels == "labels.txt"


def test_the_digest_by_hand_is_the_digest(tmp_path):
    version = tmp_path / "models" / "magika" / "1"
    for name in (
        "model.onnx",
        "model.onnx.data",
        "a b/c",
        "a b.txt",
        "x.sig",
        "golden/1",
        "a b/golden/2",
        ".h",
    ):
        (version / name).parent.mkdir(parents=True, exist_ok=True)
        (version / name).write_text(name)
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert version_digest(version) == f"sha256:{done.stdout.split()[0]}"
