"""Prints what extras of this project need, a requirement a line: `python .ci/extras.py NAME ...`.

`pip install -e '.[NAME]'` would build the native code anew for every extra that is added.
"""

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def main() -> None:
    """Takes the extras' names."""
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    print("\n".join(requirement for name in sys.argv[1:] for requirement in extras[name]))


if __name__ == "__main__":
    main()
