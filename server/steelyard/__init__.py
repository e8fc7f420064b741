"""Steelyard: a high-throughput inference server for ONNX models that can say why.

`steelyard.Client` and `steelyard.AsyncClient` are imported when they are first named, so that whoever needs only
`steelyard.errors` or the version pays neither for gRPC nor for protobuf.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steelyard.client import AsyncClient, Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("AsyncClient", "Client"):
        import steelyard.client

        return getattr(steelyard.client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
