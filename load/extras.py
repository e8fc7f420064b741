"""Packages that only some of this needs: the extra `load`."""

import importlib
import importlib.util
from typing import Any

from steelyard.errors import ConfigError


def extra(module: str, package: str, purpose: str) -> Any:
    """The module. Raises ConfigError that names the extra where its package is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(package, purpose, str(error)) from None


def require_installed(package: str, purpose: str) -> None:
    """The same without importing it: Locust replaces sockets and threads in every process that does."""
    if importlib.util.find_spec(package) is None:
        raise _missing(package, purpose, "it is not installed")


def _missing(package: str, purpose: str, problem: str) -> ConfigError:
    return ConfigError(
        f"{purpose} needs the package {package!r}, which cannot be imported ({problem}); "
        "install it with: pip install 'steelyard[load]'"
    )
