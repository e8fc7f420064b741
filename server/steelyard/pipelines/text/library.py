"""Hugging Face's `tokenizers`, an extra of this package: imported when a version needs it, on one thread.

A tokenizer that is not reconfigured may be used by several threads at once, and encodes a batch without the GIL.
"""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from steelyard.errors import ConfigError, ManifestError
from steelyard.models.companions import companion_problem

T = TypeVar("T")

# Those of the largest multilingual vocabularies have some 35 MB.
MAX_TOKENIZER_BYTES = 256 << 20


class TokenizerError(Exception):
    """The library refused a file or a text."""


def load_tokenizer(directory: Path, name: str) -> Any:
    """The `tokenizers.Tokenizer` of the file `name` in the version's `directory`.

    Raises ConfigError where the library is not installed, and ManifestError where the file lies outside `directory`,
    cannot be read, is larger than MAX_TOKENIZER_BYTES or is no tokenizer.
    """
    if problem := companion_problem(directory, name):
        raise ManifestError(f"tokenizer: {problem}")
    path = directory / name
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_TOKENIZER_BYTES + 1)
    except OSError as exc:
        raise ManifestError(f"tokenizer: {path} cannot be read: {exc.strerror}") from exc
    if len(content) > MAX_TOKENIZER_BYTES:
        raise ManifestError(f"tokenizer: expected at most {MAX_TOKENIZER_BYTES} bytes in {path}, got more")
    library = import_tokenizers()
    try:
        return guarded(lambda: library.Tokenizer.from_buffer(content))
    except TokenizerError as exc:
        raise ManifestError(f"tokenizer: {path} is none: {exc}") from exc


def encode(tokenizer: Any, texts: list[Any], special_tokens: bool) -> list[Any]:
    """The encodings of texts or pairs, on this thread and without the GIL.

    Raises TokenizerError where one of them cannot be encoded; which one the library does not say.
    """
    return guarded(lambda: tokenizer.encode_batch_fast(texts, add_special_tokens=special_tokens))


def guarded(call: Callable[[], T]) -> T:
    """What `call` gives. Raises TokenizerError for what the library raises: bare exceptions, and panics of its native
    code, which are no `Exception` and would pass every handler up to the thread's end."""
    try:
        return call()
    except Exception as exc:
        raise TokenizerError(str(exc)) from exc
    except BaseException as exc:
        if type(exc).__module__ != "pyo3_runtime":
            raise
        raise TokenizerError(str(exc)) from exc


def import_tokenizers() -> Any:
    """The library. Raises ConfigError that names the extra where it is not installed."""
    # Read at every batch. The server's own executor threads are all that the machine has cores for: a pool beside them
    # would compete with ONNX Runtime for the same.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        return importlib.import_module("tokenizers")
    except ImportError as exc:
        raise ConfigError(
            f"step 'tokenize': expected the package 'tokenizers', which cannot be imported ({exc}); "
            "install it with: pip install 'steelyard[text]'"
        ) from exc
