"""The sentences that are compared: in many scripts and of many lengths, empty ones too."""

import hashlib
import json
import unicodedata
from pathlib import Path

from package import model_directory


def sentences() -> list[str]:
    """All of them: those of sentences.txt, what the package's page says by lines and by sections, and some odd ones."""
    own = Path(__file__).with_name("sentences.txt").read_text(encoding="utf-8").splitlines()
    page = (model_directory() / "README.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line]
    odd = [
        *("", " ", "\n\n\t ", "\x00\x07", "\ufffd", "a"),
        *(" ".join(own), "weight " * 400, "w" * 4000, unicodedata.normalize("NFD", own[40]), page),
    ]
    return [*own, *lines, *page.split("\n## "), *odd]


def digest(texts: list[str]) -> str:
    """What tells one list of sentences from another."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
