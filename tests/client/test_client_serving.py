"""Both clients against a real server."""

import asyncio
import inspect
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

import steelyard
from steelyard.client import AsyncClient, Client, Request, Tensor
from steelyard.errors import (
    DeadlineExpired,
    InvalidRequest,
    LoadFailed,
    ModelNotFound,
    SteelyardError,
    TooLarge,
    Unavailable,
    Unsupported,
)
from tests.client.served import Server

X = np.arange(8, dtype=np.float32).reshape(2, 4)
EVERY = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[0.5, np.inf]], np.float16),
    "FP32": np.array([[0.1, -np.inf]], np.float32),
    "FP64": np.array([[0.1, 1e300]], np.float64),
    "BYTES": np.array([[b"a\0b", b""]], object),
}


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.grpc_address, timeout_s=30) as client:
        yield client


@pytest.fixture
async def async_client(server: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.grpc_address, timeout_s=30) as client:
        yield client


def test_a_result_says_what_answered(client: Client):
    result = client.infer("linear", {"X": X}, request_id="mine", priority=1)
    assert result["Y"].dtype == np.float32
    assert np.array_equal(result["Y"], X @ np.full((4, 3), 2, np.float32))
    assert (result.model, result.version, result.request_id) == ("linear", "2", "mine")
    assert result.digest.startswith("sha256:")
    assert len(result.decision_id) == 36
    assert result.elapsed_ns > 0
    assert result.attempts == 1


def test_a_version_can_be_pinned(client: Client):
    first, second = client.infer("linear", {"X": X}, version=1), client.infer("linear", {"X": X}, version="2")
    assert (first.version, second.version) == ("1", "2")
    assert np.array_equal(first["Y"] * 2, second["Y"])
    assert first.digest != second.digest


def test_every_datatype_there_and_back(client: Client):
    inputs = {f"in_{name}": array for name, array in EVERY.items()}
    result = client.infer("identity", inputs)
    assert result.datatypes == {f"out_{name}": name for name in EVERY}
    for name, array in EVERY.items():
        assert result[f"out_{name}"].tolist() == array.tolist(), name
    bits = np.array([[0x3F80, 0xC020]], np.uint16)
    result = client.infer("bfloat", {"in_BF16": Tensor(bits, "BF16")})
    assert result.datatypes == {"out_BF16": "BF16"}
    assert result["out_BF16"].tolist() == bits.tolist()


def test_layouts_are_converted(client: Client):
    expected = client.infer("linear", {"X": X})["Y"]
    for same in (np.asfortranarray(X), X.astype(">f4"), X[::-1][::-1]):
        assert np.array_equal(client.infer("linear", {"X": same})["Y"], expected)


def test_outputs_and_classes(client: Client):
    inputs = {f"in_{name}": array for name, array in EVERY.items()}
    chosen = client.infer("identity", inputs, outputs=["out_INT8", "out_BOOL"])
    assert list(chosen.outputs) == ["out_INT8", "out_BOOL"]
    classes = client.infer("identity", inputs, classes={"out_INT8": 1})
    assert classes["out_INT8"].tolist() == [[b"127.000000:1"]]


def test_no_rows(client: Client):
    assert client.infer("linear", {"X": X[:0]})["Y"].shape == (0, 3)


@pytest.mark.parametrize(
    ("model", "inputs", "options", "error", "message"),
    [
        ("nothing", {}, {}, ModelNotFound, "nothing"),
        ("linear", {"X": X}, {"version": 9}, ModelNotFound, "9"),
        ("linear", {"X": X.astype(np.float64)}, {}, InvalidRequest, "FP32, came FP64"),
        ("linear", {}, {}, InvalidRequest, "X"),
        ("linear", {"X": X}, {"outputs": ["Z"]}, InvalidRequest, "Z"),
        ("linear", {"X": X}, {"parameters": {"priority": "high"}}, InvalidRequest, "priority"),
        ("broken", {}, {}, Unavailable, "broken"),
    ],
)
def test_refusals_are_the_projects_errors(client: Client, model, inputs, options, error, message: str):
    with pytest.raises(error, match=message) as caught:
        client.infer(model, inputs, **options)
    assert len(caught.value.decision_id) == 36


def test_messages_are_bounded(server: Server):
    with Client(server.grpc_address, max_message_bytes=1024) as client:
        with pytest.raises(TooLarge):
            client.infer("linear", {"X": np.zeros((1000, 4), np.float32)})
        assert client.infer("linear", {"X": X}).version == "2"


def test_control(client: Client, server: Server):
    assert client.server_ready()
    assert client.model_ready("linear")
    assert client.model_ready("linear", 1)
    assert not client.model_ready("broken")
    with pytest.raises(ModelNotFound):
        client.model_ready("nothing")
    metadata = client.metadata("linear", 1)
    assert metadata.versions == ("1", "2")
    assert [(t.name, t.datatype, t.shape) for t in metadata.inputs] == [("X", "FP32", (-1, 4))]
    assert metadata.properties["digest"].startswith("sha256:")
    assert client.config("linear")["max_batch_size"] > 1
    states = {(state.name, state.version): state for state in client.index()}
    assert states["linear", "1"].state == states["linear", "2"].state == "READY"
    assert states["broken", "1"].state == "UNAVAILABLE"
    assert states["broken", "1"].reason
    assert ("broken", "1") not in {(state.name, state.version) for state in client.index(ready=True)}


def test_statistics_count(client: Client):
    before = {found.version: found for found in client.statistics("linear")}["1"]
    client.infer("linear", {"X": X}, version=1)
    after = client.statistics("linear", 1)
    assert [found.version for found in after] == ["1"]
    assert after[0].requests == before.requests + 1
    assert after[0].rows == before.rows + 2
    assert after[0].mean_ms is not None
    assert after[0].mean_ms > 0
    assert after[0].mean_batch_rows is not None


def test_unload_and_load(client: Client):
    client.unload("identity")
    assert not client.model_ready("identity")
    with pytest.raises(Unavailable, match="unloaded by request"):
        client.metadata("identity")
    client.load("identity")
    assert client.model_ready("identity")
    with pytest.raises((Unavailable, LoadFailed), match="broken"):
        client.load("broken")
    with pytest.raises(ModelNotFound):
        client.load("nothing")


def test_a_stream_answers_every_request(client: Client):
    requests = [
        Request(model="linear", inputs={"X": np.full((1, 4), i, np.float32)}, version=1) for i in range(40)
    ]
    answers = {answer.request_id: answer for answer in client.stream_infer(requests)}
    assert len(answers) == 40
    for i in range(40):
        result = answers[str(i)].result
        assert result is not None
        assert result["Y"].tolist() == [[4 * i] * 3]


def test_an_error_in_a_stream_is_one_answer(client: Client):
    requests = [
        Request(model="linear", inputs={"X": X}, request_id="good"),
        Request(model="nothing", inputs={}, request_id="bad"),
    ]
    answers = list(client.stream_infer(requests))
    assert sorted(answer.error is None for answer in answers) == [False, True]
    assert [answer.request_id for answer in answers if answer.error is None] == ["good"]


def test_what_the_requests_raise_ends_the_stream(client: Client):
    def requests() -> Iterator[Request]:
        yield Request(model="linear", inputs={"X": X})
        raise KeyError("mine")

    met = []
    with pytest.raises(KeyError, match="mine"):
        met.extend(client.stream_infer(requests()))
    assert met == [] or met[0].error is None


def test_a_stream_may_be_left(client: Client):
    requests = [Request(model="linear", inputs={"X": X}) for _ in range(10)]
    stream = client.stream_infer(requests)
    assert next(stream).error is None
    stream.close()
    assert client.server_ready()


def test_threads_share_a_client(client: Client):
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(5):
            result = client.infer("linear", {"X": np.full((1, 4), number, np.float32)}, version=1)
            if result["Y"].tolist() != [[4 * number] * 3]:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_server():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Client(address) as client:
            assert not client.server_ready()
            assert not client.model_ready("linear")
            with pytest.raises(Unavailable, match=address):
                client.infer("linear", {"X": X})


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_server_that_never_answers(silent: str):
    with Client(silent) as client, pytest.raises((DeadlineExpired, Unavailable)):
        client.infer("linear", {"X": X}, timeout_s=0.1)


async def test_a_call_can_be_cancelled(silent: str):
    async with AsyncClient(silent) as client:
        call = asyncio.ensure_future(client.infer("linear", {"X": X}))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


def test_a_closed_client(server: Server):
    client = Client(server.grpc_address)
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.infer("linear", {"X": X})


def test_names_that_are_no_text(client: Client):
    with pytest.raises(InvalidRequest):
        client.metadata("\ud800")


async def test_async_inference(async_client: AsyncClient):
    async def ask(number: int) -> list[list[float]]:
        inputs = {"X": np.full((1, 4), number, np.float32)}
        return (await async_client.infer("linear", inputs, version=1))["Y"].tolist()

    answers = await asyncio.gather(*map(ask, range(50)))
    assert answers == [[[4 * number] * 3] for number in range(50)]


async def test_async_control(async_client: AsyncClient):
    assert await async_client.server_ready()
    assert await async_client.model_ready("linear")
    assert (await async_client.metadata("linear")).name == "linear"
    assert (await async_client.config("linear"))["name"] == "linear"
    assert [found.name for found in await async_client.statistics("linear", 1)] == ["linear"]
    assert ("linear", "2") in {(state.name, state.version) for state in await async_client.index()}
    with pytest.raises(ModelNotFound):
        await async_client.load("nothing")
    with pytest.raises(ModelNotFound):
        await async_client.unload("nothing")


async def test_async_streams(async_client: AsyncClient):
    async def requests() -> AsyncIterator[Request]:
        for number in range(20):
            yield Request(model="linear", inputs={"X": np.full((1, 4), number, np.float32)}, version=1)

    ids = sorted([int(answer.request_id) async for answer in async_client.stream_infer(requests())])
    assert ids == list(range(20))
    listed = [Request(model="linear", inputs={"X": X})]
    assert [answer.error async for answer in async_client.stream_infer(listed)] == [None]


async def test_an_async_stream_may_be_left(async_client: AsyncClient):
    stream = async_client.stream_infer([Request(model="linear", inputs={"X": X}) for _ in range(10)])
    assert (await anext(stream)).error is None
    await stream.aclose()
    assert await async_client.server_ready()


async def test_what_async_requests_raise_ends_the_stream(async_client: AsyncClient):
    async def requests() -> AsyncIterator[Request]:
        yield Request(model="linear", inputs={"X": X})
        yield Request(model="linear", inputs={"X": [1]})

    with pytest.raises(InvalidRequest, match="expected a numpy array"):
        [answer async for answer in async_client.stream_infer(requests())]


async def test_async_errors(async_client: AsyncClient):
    with pytest.raises(InvalidRequest) as caught:
        await async_client.infer("linear", {"X": X[:, :2]})
    assert len(caught.value.decision_id) == 36
    await async_client.close()
    with pytest.raises(Unavailable, match="closed"):
        await async_client.infer("linear", {"X": X})


async def test_async_no_server():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with AsyncClient(f"127.0.0.1:{taken.getsockname()[1]}") as client:
            assert not await client.server_ready()
            with pytest.raises(Unavailable):
                await client.infer("linear", {"X": X})


def test_an_rpc_that_is_not_there(client: Client):
    from steelyard.client.rpcs import Rpc

    with pytest.raises(Unsupported):
        client._call(Rpc("/inference.GRPCInferenceService/Nothing", b"", bytes), None)


def test_both_clients_have_the_same_methods():
    def methods(kind: type) -> dict[str, list[str]]:
        public = {name: value for name, value in vars(kind).items() if callable(value) and name[0] != "_"}
        return {name: list(inspect.signature(value).parameters) for name, value in public.items()}

    assert methods(Client) == methods(AsyncClient)
    assert inspect.signature(Client).parameters.keys() == inspect.signature(AsyncClient).parameters.keys()


def test_errors_of_the_package_alone():
    assert steelyard.Client is Client
    assert steelyard.AsyncClient is AsyncClient
    assert {"Client", "AsyncClient"} <= set(dir(steelyard))
    with pytest.raises(AttributeError, match="nothing"):
        steelyard.nothing  # noqa: B018
    assert issubclass(SteelyardError, Exception)


def test_importing_the_package_is_cheap():
    program = (
        "import sys, steelyard, steelyard.errors; "
        "print([m for m in ('grpc', 'google.protobuf', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
