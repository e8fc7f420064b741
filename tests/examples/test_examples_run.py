"""The examples do what their pages say, each as its make target starts it."""

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


def test_flights(tmp_path: Path) -> None:
    assert "20000 flights" in output_of("flights", tmp_path / "made")
    assert (tmp_path / "made" / "models" / "flights" / "1" / "golden" / "flights-0").is_dir()
