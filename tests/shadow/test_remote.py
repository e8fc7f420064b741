"""A candidate on another server: the same bytes addressed anew, TLS and credentials, and what its absence counts as."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.client.rpcs import INFER, metadata
from steelyard.errors import ConfigError, LoadFailed
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.rollout.frames import Asked
from steelyard.shadow.remote import RemoteCandidate, readdressed
from steelyard.shadow.task import RemoteTarget
from steelyard.wire import decode_request
from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.plain import decode_request as decode_plainly
from tests.shadow.conftest import body_of, primary_of
from tests.shadow.test_shadow import MANIFEST, counted, differences, rows
from tests.support import models
from tests.support.server import Server
from tests.support.waiting import until

names = st.text(st.characters(codec="utf-8"), max_size=200)


@given(names, names, names)
def test_the_last_address_holds(model: str, version: str, before: str) -> None:
    array = np.ones((1, 4), np.float32)
    body = body_of(before, array) + readdressed(model, version)
    for decode in (decode_request, decode_plainly):
        request = decode(body)
        assert (request.model_name, request.model_version) == (model, version)
        assert bytes(request.inputs[0].data) == array.tobytes()


async def test_another_server_side_by_side(tmp_path: Path, socket_path: Path) -> None:
    models.put(tmp_path / "here", "m", models.scaled(2.0), 1, MANIFEST)
    there = models.put(tmp_path / "there", "other", models.scaled(2.0), 3).parent.parent
    server = Server(there, tmp_path / "log").wait_ready()
    try:
        async with primary_of(tmp_path / "here") as primary:
            target = RemoteTarget(address=server.address, model="other", version="3")
            _, process = await primary.shadow("m", target, socket_path)
            await primary.ask(rows(20))
            found = await counted(process, 20)
            assert found["error_rate"] == differences(same=20)
            assert found["disagreement"] == differences(same=20)
            (digest,) = process.checkpoint["digests"]
            assert digest.startswith("sha256:")
            # A request that the other server refuses is its failure; one that it cannot be asked is nobody's.
            server.process.terminate()
            server.process.wait()
            await primary.ask(rows(5))
            await until(lambda: process.checkpoint["not_compared"] == {"down": 5})
            assert (await counted(process, 20))["error_rate"] == differences(same=20)
    finally:
        server.process.kill()
        server.process.wait()
        server._output.close()


class Answerer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A server of any make, as far as one method goes: `answer` gets the request's bytes and the call's context."""

    def __init__(self, answer: Callable[[bytes, Any], bytes], method: str) -> None:
        self._answer = answer
        self._method = method

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer) if details.method == self._method else None


@contextmanager
def answering(
    answer: Callable[[bytes, Any], bytes],
    credentials: grpc.ServerCredentials | None = None,
    method: str = INFER,
) -> Iterator[str]:
    """The address of a server that answers so."""
    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((Answerer(answer, method),))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def asked(count: int = 1) -> list[Asked]:
    return [Asked(f"{i:036d}", body_of("m", np.full((1, 4), i, np.float32)), b"") for i in range(count)]


def test_no_more_calls_are_under_way_than_allowed() -> None:
    lock = threading.Lock()
    under_way = most = 0
    full = threading.Event()

    def answer(body: bytes, context: Any) -> bytes:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
            if under_way == 3:
                full.set()
        full.wait(30)
        with lock:
            under_way -= 1
        return decode_request(body).inputs[0].data.tobytes()

    with answering(answer) as address:
        candidate = RemoteCandidate(RemoteTarget(address=address, model="n", concurrency=3), 30, 1 << 20)
        ran = candidate.run(asked(20))
        candidate.close()
    assert most == 3
    assert [outcome.answer for outcome in ran.outcomes] == [
        np.full(4, i, np.float32).tobytes() for i in range(20)
    ]


@pytest.mark.parametrize(
    ("code", "pushback", "status", "unmet"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, None, 3, ""),
        (grpc.StatusCode.INTERNAL, None, 13, ""),
        (grpc.StatusCode.UNAVAILABLE, None, 14, "down"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "20", 8, "overloaded"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, None, 8, ""),
    ],
)
def test_errors_are_its_own_but_for_being_away_or_full(
    code: grpc.StatusCode, pushback: str | None, status: int, unmet: str
) -> None:
    def answer(body: bytes, context: Any) -> bytes:
        if pushback is not None:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback),))
        context.abort(code, "no")
        raise AssertionError

    with answering(answer) as address:
        candidate = RemoteCandidate(RemoteTarget(address=address, model="n"), 30, 1 << 20)
        (outcome,) = candidate.run(asked()).outcomes
        candidate.close()
    assert (outcome.status, outcome.unmet, outcome.answer) == (status, unmet, b"")


def test_one_that_does_not_answer_in_time_has_failed() -> None:
    over = threading.Event()

    def answer(body: bytes, context: Any) -> bytes:
        over.wait(30)
        return b""

    with answering(answer) as address:
        candidate = RemoteCandidate(RemoteTarget(address=address, model="n"), 0.2, 1 << 20)
        (outcome,) = candidate.run(asked()).outcomes
        candidate.close()
        over.set()
    assert (outcome.status, outcome.unmet) == (4, "")


def test_one_to_which_there_is_no_connection_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        candidate = RemoteCandidate(RemoteTarget(address=address, model="n"), 1.0, 1 << 20)
        outcomes = candidate.run(asked(10)).outcomes
        candidate.close()
    assert [(outcome.status, outcome.unmet) for outcome in outcomes] == [(14, "down")] * 10


METADATA = metadata("n", "")


def offered(answer: Callable[[bytes, Any], bytes], method: str = METADATA.method) -> tuple[Any, str]:
    """What such a server is understood to offer, and the digest that is known of it then."""
    with answering(answer, method=method) as address:
        candidate = RemoteCandidate(RemoteTarget(address=address, model="n"), 0.5, 1 << 20)
        try:
            return candidate.offered(True), candidate.digest
        finally:
            candidate.close()


@pytest.mark.parametrize(
    ("said", "known"),
    [("sha256:" + 64 * "a", True), ("sha256:" + 65 * "a", False), ("new", False), ("", False)],
)
def test_what_a_server_says_that_it_offers(said: str, known: bool) -> None:
    def answer(body: bytes, context: Any) -> bytes:
        assert body == METADATA.body
        message = pb.ModelMetadataResponse(name="n", properties={"digest": said})
        message.inputs.add(name="x", datatype="FP32", shape=(-1, 4))
        message.outputs.add(name="y", datatype="INT64", shape=())
        return message.SerializeToString()

    x, y = TensorSpec("x", "FP32", (-1, 4)), TensorSpec("y", "INT64", ())
    assert offered(answer) == (ModelSpec((x,), (y,), True), said if known else "")


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED],
)
def test_a_server_that_does_not_tell_what_it_offers(code: grpc.StatusCode) -> None:
    def answer(body: bytes, context: Any) -> bytes:
        context.abort(code, "no")
        raise AssertionError

    assert offered(answer) == (None, "")
    assert offered(answer, INFER) == (None, "")


def test_a_server_that_takes_too_long_to_tell() -> None:
    over = threading.Event()

    def answer(body: bytes, context: Any) -> bytes:
        over.wait(30)
        return b""

    try:
        with answering(answer, method=METADATA.method) as address:
            candidate = RemoteCandidate(RemoteTarget(address=address, model="n"), 0.2, 1 << 20)
            assert candidate.offered(True) is None
            candidate.close()
            over.set()
    finally:
        over.set()


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    ],
)
def test_what_a_server_refuses_is_no_candidate(code: grpc.StatusCode) -> None:
    def answer(body: bytes, context: Any) -> bytes:
        context.abort(code, "not you")
        raise AssertionError

    with pytest.raises(LoadFailed, match=r"the candidate.s server at 127.0.0.1:\d+: not you"):
        offered(answer)


def test_an_answer_that_is_none() -> None:
    with pytest.raises(LoadFailed, match="no ModelMetadataResponse"):
        offered(lambda body, context: b"\xff")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with certificate and key of a server at 127.0.0.1 and of a client, each signed by itself."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("server", "client"):
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {name}.key -out {name}.pem"
        subprocess.run(
            command.split(),
            cwd=directory,
            check=True,
            capture_output=True,
        )
    return directory


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its keys with openssl")
def test_tls_with_both_certificates_and_a_token(keys: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    def answer(body: bytes, context: Any) -> bytes:
        seen.append(dict(context.invocation_metadata())["authorization"])
        return b"ok"

    credentials = grpc.ssl_server_credentials(
        [((keys / "server.key").read_bytes(), (keys / "server.pem").read_bytes())],
        (keys / "client.pem").read_bytes(),
        require_client_auth=True,
    )
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with answering(answer, credentials) as address:
        known = RemoteTarget(
            address=address,
            model="n",
            tls=True,
            root_file=keys / "server.pem",
            certificate_file=keys / "client.pem",
            key_file=keys / "client.key",
            token_file=token,
        )
        for target, met in (
            (known, True),
            (known.model_copy(update={"certificate_file": None, "key_file": None}), False),
            (known.model_copy(update={"root_file": keys / "client.pem"}), False),
        ):
            candidate = RemoteCandidate(target, 30, 1 << 20)
            (outcome,) = candidate.run(asked()).outcomes
            candidate.close()
            assert (outcome.answer, outcome.unmet) == ((b"ok", "") if met else (b"", "down"))
    assert seen == ["Bearer s3cret"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"token_file": "token"}, "expected TLS"),
        ({"tls": True, "token_file": "two lines"}, "expected one token of printable ASCII"),
        ({"tls": True, "token_file": "missing"}, "missing: cannot read the token"),
        ({"tls": True, "certificate_file": "token"}, "certificate and key: expected both or none"),
    ],
)
async def test_credentials_that_do_not_fit_are_refused(
    tmp_path: Path, socket_path: Path, more: dict[str, Any], named: str
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "two lines").write_text("one\ntwo\n")
    paths = {key: tmp_path / value if isinstance(value, str) else value for key, value in more.items()}
    target = RemoteTarget(address="localhost:1", model="n", **paths)
    with pytest.raises(ConfigError, match=named):
        RemoteCandidate(target, 1, 1 << 20)
    models.put(tmp_path / "models", "m", models.scaled(), 1)
    async with primary_of(tmp_path / "models") as primary:
        process = primary.start(primary.task("m", target, socket_path))
        with pytest.raises(LoadFailed, match=named):
            await process.started()
