"""pyarrow, an extra of this package: it reads training data, and no server imports it."""

import importlib

from steelyard.errors import ConfigError


def require_pyarrow() -> None:
    """Raises ConfigError that names the extra where pyarrow is not installed."""
    try:
        importlib.import_module("pyarrow")
    except ImportError as exc:
        raise ConfigError(
            f"expected the package 'pyarrow', which cannot be imported ({exc}); "
            "install it with: pip install 'steelyard[data]'"
        ) from exc
