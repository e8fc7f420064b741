"""Patterns of texts by RE2, whose time grows with the text alone: no text from outside can hold up a server."""

from collections.abc import Callable

from steelyard.errors import ConfigError, ManifestError

# What the automata of one pattern may take.
MAX_MEMORY = 8 << 20


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Whether a whole text matches. Raises ManifestError for no pattern of RE2, ConfigError without the library."""
    try:
        import re2
    except ImportError:
        raise ConfigError(
            "a contract with a pattern needs google-re2: pip install 'steelyard[patterns]'"
        ) from None
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise ManifestError(f"pattern: expected one of RE2: {_reason(error)}") from None
    return lambda text: compiled.fullmatch(text) is not None


def _reason(error: Exception) -> str:
    (reason,) = error.args
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
