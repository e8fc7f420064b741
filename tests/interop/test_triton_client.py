"""tritonclient's asyncio face, and its compression, over both fronts; its blocking one is among the service tests."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from tests.support.server import Server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[triton.InferenceServerClient]:
    async with triton.InferenceServerClient(server.address) as client:
        yield client


def given(array: np.ndarray) -> list[triton.InferInput]:
    tensor = triton.InferInput("x", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array)
    return [tensor]


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
async def test_inference(client: triton.InferenceServerClient, algorithm: str | None) -> None:
    arrays = [np.full((1_000, 4), n, np.float32) for n in range(20)]
    results = await asyncio.gather(
        *(client.infer("double", given(array), compression_algorithm=algorithm) for array in arrays)
    )
    for array, result in zip(arrays, results, strict=True):
        assert np.array_equal(result.as_numpy("y"), array * 2)


async def test_what_it_asks_of_the_server_and_its_errors(client: triton.InferenceServerClient) -> None:
    assert await client.is_server_ready()
    assert (await client.get_model_metadata("double")).inputs[0].name == "x"
    with pytest.raises(InferenceServerException, match="'nobody'") as caught:
        await client.infer("nobody", given(np.ones((1, 4), np.float32)))
    assert caught.value.status() == "StatusCode.NOT_FOUND"


async def test_streaming(client: triton.InferenceServerClient) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for n in range(50):
            array = np.full((1, 4), n, np.float32)
            yield {"model_name": "double", "inputs": given(array), "request_id": str(n)}

    found = {}
    async for result, error in client.stream_infer(requests()):
        assert error is None
        found[int(result.get_response().id)] = result.as_numpy("y")[0, 0]
    assert found == {n: 2.0 * n for n in range(50)}
