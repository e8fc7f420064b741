"""A CUDA device, or the reason why there is none."""

import pytest

from steelyard.runtime.session import providers_available


@pytest.fixture(autouse=True, scope="session")
def device() -> str:
    """Its name. Where ONNX Runtime has the provider and cannot start it, tests fail and say why."""
    available = providers_available()
    if "CUDAExecutionProvider" not in available:
        pytest.skip(f"ONNX Runtime has no CUDAExecutionProvider, only {', '.join(available)}: make test-gpu")
    return "cuda:0"
