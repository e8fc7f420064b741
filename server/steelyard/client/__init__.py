"""What callers import: numpy in, numpy out, over gRPC, waiting or with asyncio."""

from steelyard.client.aio import AsyncClient
from steelyard.client.answers import ModelMetadata, ModelState, ModelStatistics, TensorMetadata
from steelyard.client.requests import Request
from steelyard.client.results import Result, StreamAnswer
from steelyard.client.retry import Retry
from steelyard.client.sync import Client
from steelyard.client.target import tls_context
from steelyard.client.tensors import Tensor

__all__ = [
    "AsyncClient",
    "Client",
    "ModelMetadata",
    "ModelState",
    "ModelStatistics",
    "Request",
    "Result",
    "Retry",
    "StreamAnswer",
    "Tensor",
    "TensorMetadata",
    "tls_context",
]
