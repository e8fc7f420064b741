"""Names of models, numbers and digests of versions: which are legal, in a repository and in a request."""

import re

from steelyard.wire.refusals import shown

# The longest name that Linux file systems hold.
MAX_NAME_BYTES = 255
# The protocol's clients and our records carry versions as int64.
MAX_VERSION = (1 << 63) - 1

DIGEST_PREFIX = "sha256:"
# 48 bits: among a million versions two share so many with a chance of one in 500, and then the pin is refused.
MIN_DIGEST_DIGITS = 12
_DIGEST = re.compile(rf"{DIGEST_PREFIX}[0-9a-f]{{{MIN_DIGEST_DIGITS},64}}", re.ASCII)

_VERSION = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def name_problem(name: str) -> str | None:
    """Why `name` cannot be a model's name, or None if it can.

    A name is one visible component of a path: 1 to 255 bytes of valid UTF-8, all printable, with no slash or
    backslash, no "..", and no "." or space at its start. So it can neither leave the repository nor forge a
    line in a log.
    """
    if not name:
        return "a model's name is empty"
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return f"model name {shown(name)} is not valid UTF-8"
    if size > MAX_NAME_BYTES:
        return f"model name {shown(name)} has {size} bytes, expected at most {MAX_NAME_BYTES}"
    if "/" in name or "\\" in name:
        return f"model name {shown(name)} holds a slash"
    if name[0] == ".":
        return f"model name {shown(name)} starts with a dot"
    if ".." in name:
        return f"model name {shown(name)} holds '..'"
    if name[0].isspace() or name[-1].isspace():
        return f"model name {shown(name)} starts or ends with a space"
    if not name.isprintable():
        return f"model name {shown(name)} holds a character that cannot be printed"
    return None


def parse_version(text: str) -> int | None:
    """The version that `text` names, from 1 to 2^63 - 1 without leading zeros; None where it names none."""
    if _VERSION.fullmatch(text) is None:
        return None
    number = int(text)
    return number if number <= MAX_VERSION else None


def digest_problem(text: str) -> str | None:
    """Why `text` cannot be a version's digest, whole or cut short, or None if it can."""
    if _DIGEST.fullmatch(text) is not None:
        return None
    return (
        f"expected a digest as {DIGEST_PREFIX} and {MIN_DIGEST_DIGITS} to 64 lower-case hexadecimal digits, "
        f"came {shown(text)}"
    )
