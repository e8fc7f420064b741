"""The content digest of a version: what it is, whatever it is called and wherever it lies."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from steelyard.errors import RepositoryError
from steelyard.models.tree import walk

# Signatures are made over the digest, so they cannot be under it. OpenSSF model signing writes model.sig.
SIGNATURE_SUFFIX = ".sig"
# Golden examples may be added to a version that is already in production.
GOLDEN_DIRECTORY = "golden"


def version_digest(path: Path) -> str:
    """The digest of the version in the directory `path`, as "sha256:" and 64 hexadecimal digits.

    Every file below the directory makes one line: its POSIX path relative to the directory in UTF-8, a zero
    byte, the SHA-256 of its content as 64 lower-case hexadecimal digits, a newline. The lines are sorted as
    bytes, and the digest is the SHA-256 of them one after the other. Left out are the directory `golden` at
    the top, and every file whose name ends in `.sig`. Links are followed. Neither times nor modes nor empty
    directories have a part in it.

    Raises RepositoryError for what cannot be read, for a path that is not UTF-8, and where there is no file
    at all.
    """
    return digest_over(file_digests(path))


def file_digests(path: Path) -> dict[str, str]:
    """The SHA-256, in hexadecimal, of every file that the version's digest is made over, by its path.

    Raises RepositoryError as `version_digest` does.
    """
    digests: dict[str, str] = {}
    for file in walk(str(path), skip=frozenset({GOLDEN_DIRECTORY})):
        if file.relative.endswith(SIGNATURE_SUFFIX):
            continue
        try:
            file.relative.encode("utf-8")
        except UnicodeEncodeError:
            raise RepositoryError(f"{path}: expected file names in UTF-8, got {file.relative!a}") from None
        digests[file.relative] = _sha256(path / file.relative)
    if not digests:
        raise RepositoryError(f"{path}: expected at least one file, got none")
    return digests


def digest_over(digests: Mapping[str, str]) -> str:
    """The version's digest, of those of its files."""
    lines = sorted(b"%b\0%b\n" % (name.encode(), digest.encode()) for name, digest in digests.items())
    return f"sha256:{hashlib.sha256(b''.join(lines)).hexdigest()}"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise RepositoryError(f"{path}: cannot be read: {exc.strerror}") from exc
