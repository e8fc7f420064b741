"""The examples do what their pages say, each as its make target starts it."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.extra


def test_flights(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "flights" / "example.py"), str(tmp_path / "made")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "20000 flights" in run.stdout
    assert (tmp_path / "made" / "models" / "flights" / "1" / "golden" / "flights-0").is_dir()
