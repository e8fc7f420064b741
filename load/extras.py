"""Packages that only some of this needs: the extra `load`."""

import importlib
from typing import Any

from steelyard.errors import ConfigError


def extra(module: str, package: str, purpose: str) -> Any:
    """The module. Raises ConfigError that names the extra where its package is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs the package {package!r}, which cannot be imported ({error}); "
            "install it with: pip install 'steelyard[load]'"
        ) from None
