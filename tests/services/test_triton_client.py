"""The client that the field uses, against a running server."""

import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.support.server import Server


@pytest.fixture(scope="module")
def client(server: Server):
    with triton.InferenceServerClient(server.address) as client:
        yield client


def given(name: str, array: np.ndarray, datatype: str) -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def test_what_it_asks_of_the_server(client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("double")
    assert client.get_server_metadata().name == "steelyard"
    assert client.get_model_metadata("double").inputs[0].name == "x"
    assert client.get_model_config("double", as_json=True)["config"]["max_batch_size"] == 64
    index = {model.name: model.state for model in client.get_model_repository_index().models}
    assert index["double"] == "READY"
    assert client.get_inference_statistics("double").model_stats[0].name == "double"


@pytest.mark.parametrize(
    ("datatype", "array"),
    [
        ("FP32", np.arange(8, dtype=np.float32).reshape(2, 4)),
        ("FP16", np.arange(8, dtype=np.float16).reshape(2, 4)),
        ("INT64", np.arange(8, dtype=np.int64).reshape(2, 4)),
        ("UINT8", np.arange(8, dtype=np.uint8).reshape(2, 4)),
        ("BOOL", (np.arange(8) % 2 == 0).reshape(2, 4)),
        ("BYTES", np.array([[b"a", b"", b"ccc", "ü".encode()]], dtype=object)),
    ],
)
def test_inference(client, datatype: str, array: np.ndarray) -> None:
    result = client.infer(f"same_{datatype.lower()}", [given("x", array, datatype)], request_id="7")
    assert np.array_equal(result.as_numpy("y"), array)
    assert result.get_response().id == "7"


def test_outputs_classes_priority_and_timeout(client) -> None:
    array = np.array([[0.1, 0.7, 0.2]], np.float32)
    result = client.infer(
        "labelled",
        [given("x", array, "FP32")],
        outputs=[triton.InferRequestedOutput("y", class_count=2)],
        priority=1,
        timeout=10_000_000,
    )
    assert result.as_numpy("y").tolist() == [[b"0.700000:1:dog", b"0.200000:2:eel"]]


def test_errors_are_its_exceptions(client) -> None:
    with pytest.raises(InferenceServerException, match="'nobody'") as caught:
        client.infer("nobody", [given("x", np.ones((1, 4), np.float32), "FP32")])
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    with pytest.raises(InferenceServerException, match="FP64"):
        client.infer("double", [given("x", np.ones((1, 4), np.float64), "FP64")])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(client, algorithm: str) -> None:
    array = np.ones((500, 4), np.float32)
    result = client.infer("double", [given("x", array, "FP32")], compression_algorithm=algorithm)
    assert np.array_equal(result.as_numpy("y"), array * 2)


def test_streaming(client) -> None:
    answers: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for n in range(20):
        array = np.full((1, 4), n, np.float32)
        client.async_stream_infer("double", [given("x", array, "FP32")], request_id=str(n))
    client.async_stream_infer("nobody", [given("x", np.ones((1, 4), np.float32), "FP32")], request_id="bad")
    found, errors = {}, []
    for _ in range(21):
        result, error = answers.get(timeout=30)
        if error is None:
            found[int(result.get_response().id)] = result.as_numpy("y")[0, 0]
        else:
            errors.append(str(error))
    client.stop_stream()
    assert found == {n: 2.0 * n for n in range(20)}
    assert len(errors) == 1
    assert "'nobody'" in errors[0]
