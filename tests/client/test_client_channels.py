"""Both channels against servers of others, good ones and bad ones."""

import asyncio
import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ngh2.events import DataReceived

from steelyard.client import tls_context
from steelyard.client.aio_channel import AsyncChannel
from steelyard.client.backoff import FIRST_S, JITTER, LONGEST_S, Backoff
from steelyard.client.blocking_channel import BlockingChannel
from steelyard.client.failures import CallFailed
from steelyard.client.target import Target, parse_target
from steelyard.client.wiring import Wiring
from steelyard.errors import ConfigError
from steelyard.rpc import codes
from steelyard.rpc.framing import frame
from steelyard.rpc.limits import Limits
from tests.client.asking import TIMEOUT_S, Asker, asker, failure
from tests.client.peers import (
    BOTH,
    DOWN,
    DOWN_ANSWERS,
    FAIL,
    HANG,
    METADATA,
    PEER,
    UNARY,
    UP,
    ZEROS,
    Calls,
    grpcio,
    grpcio_aio,
    scripted,
    speak,
)
from tests.support.certificates import Authority
from tests.support.waiting import eventually

KINDS = ("blocking", "asyncio")
GOOD_HEAD = [(b":status", b"200"), (b"content-type", b"application/grpc")]


@pytest.fixture(scope="module", params=["grpcio", "grpc.aio"])
def echo(request: pytest.FixtureRequest) -> Iterator[str]:
    with grpcio() if request.param == "grpcio" else grpcio_aio() as address:
        yield address


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with grpcio() as address:
        yield address


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(kind: str, address: str) -> Iterator[Asker]:
    with asker(kind, address) as asking:
        yield asking


def test_all_kinds_of_calls(kind: str, echo: str) -> None:
    with asker(kind, echo) as ask:
        assert ask.unary(UNARY, b"x") == b"x"
        assert ask.unary(UNARY, b"") == b""
        assert list(ask.stream(DOWN, [b"d"])) == [b"d%d" % number for number in range(DOWN_ANSWERS)]
        assert list(ask.stream(UP, [b"a", b"", b"b"])) == [b"ab"]
        assert list(ask.stream(BOTH, [b"%d" % number for number in range(300)])) == [
            b"%d" % number for number in range(300)
        ]
        assert list(ask.stream(BOTH, [])) == []


def test_large_messages(kind: str, echo: str) -> None:
    large = bytes(range(256)) * (20 << 10)
    with asker(kind, echo) as ask:
        assert ask.unary(UNARY, large) == large
        assert [len(body) for body in ask.stream(BOTH, [large[: 1 << 20]] * 12)] == [1 << 20] * 12


def test_a_stream_is_answered_while_it_is_sent(ask: Asker) -> None:
    answers = ask.stream(BOTH, (b"%d" % number for number in itertools.count()))
    assert [next(answers) for _ in range(100)] == [b"%d" % number for number in range(100)]
    answers.close()  # type: ignore[attr-defined]
    assert ask.unary(UNARY, b"still") == b"still"


def test_metadata(ask: Asker) -> None:
    said = ask.unary(METADATA, b"", metadata=[("x-text", "a b"), ("x-raw-bin", b"\0\xff")])
    assert said == b"[('x-raw-bin', b'\\x00\\xff'), ('x-text', 'a b')]"
    with pytest.raises(ValueError, match="printable ASCII"):
        ask.unary(METADATA, b"", metadata=[("x-text", "ö")])


def test_a_failure_says_what_the_server_said(ask: Asker) -> None:
    failed = failure(ask, FAIL)
    assert (failed.code, failed.message) == (10, "nö, 100 %")
    assert (failed.decision_id, failed.pushback_ms) == ("d-1", 12)
    assert failure(ask, "/test.Calls/Nothing").code == codes.UNIMPLEMENTED
    with pytest.raises(CallFailed):
        list(ask.stream("/test.Calls/Nothing", [b"x"] * 3))
    assert ask.unary(UNARY, b"x") == b"x"


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_answers(kind: str, compression: Any) -> None:
    with grpcio(compression=compression) as address:
        with asker(kind, address) as ask:
            assert ask.unary(ZEROS, b"300000") == bytes(300_000)
            assert list(ask.stream(BOTH, [bytes(5000)] * 2)) == [bytes(5000)] * 2
        with asker(kind, address, max_message_bytes=100_000) as ask:
            # A thousandth of it travels.
            failed = failure(ask, ZEROS, b"50000000")
            assert failed.code == codes.RESOURCE_EXHAUSTED
            assert "when it is inflated" in failed.message
            assert ask.unary(ZEROS, b"100000") == bytes(100_000)


def test_messages_over_the_limit(kind: str, address: str) -> None:
    with asker(kind, address, max_message_bytes=1000) as ask:
        assert failure(ask, UNARY, bytes(1001)).code == codes.RESOURCE_EXHAUSTED
        assert failure(ask, ZEROS, b"1001").code == codes.RESOURCE_EXHAUSTED
        with pytest.raises(CallFailed, match="1001 bytes, and the limit is 1000"):
            list(ask.stream(BOTH, [b"x", bytes(1001)]))
        assert ask.unary(ZEROS, b"1000") == bytes(1000)


def test_a_deadline_ends_a_call_here_and_there(kind: str) -> None:
    calls = Calls()
    with grpcio(calls=calls) as address, asker(kind, address) as ask:
        assert ask.unary(UNARY, b"x") == b"x"
        assert failure(ask, HANG, timeout_s=0.05).code == codes.DEADLINE_EXCEEDED
        with pytest.raises(CallFailed) as caught:
            list(ask.stream(HANG, [b""], timeout_s=0.05))
        assert caught.value.failure.code == codes.DEADLINE_EXCEEDED
        assert ask.unary(UNARY, b"x") == b"x"
        assert calls.left.wait(30)


def test_a_server_that_restarts(kind: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        address = first.enter_context(grpcio())
        ask = stack.enter_context(asker(kind, address))
        assert ask.unary(UNARY, b"x") == b"x"
        first.close()
        stack.enter_context(grpcio(address))
        # What the first has said when it left is heard before the call goes out.
        assert ask.unary(UNARY, b"x") == b"x"


def test_it_is_back_after_an_outage(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with asker(kind, address) as ask:
        assert failure(ask, UNARY).code == codes.UNAVAILABLE
        with grpcio(address):
            assert eventually(lambda: ask.unary(UNARY, b"back")) == b"back"
        eventually(lambda: failure(ask, UNARY).code == codes.UNAVAILABLE)


def refusing(first: int) -> Any:
    """A server whose connections before the `first`-th refuse what they are asked: with GOAWAY, as never begun."""

    def script(connected: socket.socket, number: int) -> None:
        def answer(h2: Any, event: Any) -> None:
            if isinstance(event, DataReceived) and event.end_stream:
                if number < first:
                    h2.send_goaway(0, last_stream_id=0)
                else:
                    h2.send_response(event.stream_id, GOOD_HEAD)
                    h2.send_data(event.stream_id, frame(b"%d" % number))
                    h2.send_trailers(event.stream_id, [(b"grpc-status", b"0")])

        speak(connected, answer)

    return script


def test_what_never_ran_is_sent_again_once(kind: str) -> None:
    with scripted(refusing(1)) as address, asker(kind, address) as ask:
        assert ask.unary(UNARY, b"x") == b"1"
    with scripted(refusing(5)) as address, asker(kind, address) as ask:
        failed = failure(ask, UNARY)
        assert failed.code == codes.UNAVAILABLE
        assert "no more calls" in failed.message


def garbage(connected: socket.socket, number: int) -> None:
    connected.recv(100)
    connected.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


def nothing(connected: socket.socket, number: int) -> None:
    """Closes."""


def silence(connected: socket.socket, number: int) -> None:
    while connected.recv(1 << 16):
        pass


def half(connected: socket.socket, number: int) -> None:
    def answer(h2: Any, event: Any) -> None:
        if isinstance(event, DataReceived):
            h2.send_response(event.stream_id, GOOD_HEAD)
            connected.sendall(h2.data_to_send())
            connected.shutdown(socket.SHUT_RDWR)

    speak(connected, answer)


def goodbye(connected: socket.socket, number: int) -> None:
    """Settings, and that no call is taken."""
    connected.sendall(b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x08\7\0\0\0\0\0" + bytes(8))
    silence(connected, number)


@pytest.mark.parametrize("script", [garbage, nothing, silence, half, goodbye])
def test_servers_that_are_none(kind: str, script: Any) -> None:
    with scripted(script) as address, asker(kind, address, connect_timeout_s=0.2) as ask:
        failed = failure(ask, UNARY)
        assert failed.code == codes.UNAVAILABLE
        assert failed.message


@pytest.mark.parametrize(
    "target", [Target("a..b", 80, "", "a..b:80"), Target("", 0, "/" + "x" * 200, "localhost")]
)
async def test_whatever_connecting_raises_ends_every_call(target: Target) -> None:
    wiring, backoff = Wiring(Limits()), Backoff(lambda: 0.5)
    channel = AsyncChannel(target, wiring, None, backoff)
    calls = [channel.unary(UNARY, b"") for _ in range(3)]
    for call in calls:
        with pytest.raises(CallFailed, match="failed to connect"):
            await call.answer()
    await channel.close()
    blocking = BlockingChannel(target, wiring, None, Backoff(lambda: 0.5))
    with pytest.raises(CallFailed, match="failed to connect"):
        blocking.unary(UNARY, b"")
    blocking.close()


def test_a_stream_goes_on_sending_where_the_server_has_broken_the_connection(kind: str) -> None:
    def script(connected: socket.socket, number: int) -> None:
        def answer(h2: Any, event: Any) -> None:
            if isinstance(event, DataReceived):
                # No HTTP/2, and then nothing: the client finds out and leaves.
                connected.sendall(b"\xff" * 100)

        speak(connected, answer)

    with scripted(script) as address, asker(kind, address) as ask:
        with pytest.raises(CallFailed) as caught:
            list(ask.stream(BOTH, (bytes(1000) for _ in range(100_000))))
        assert caught.value.failure.code == codes.UNAVAILABLE


def test_an_answer_that_is_announced_as_too_large(kind: str) -> None:
    def script(connected: socket.socket, number: int) -> None:
        def answer(h2: Any, event: Any) -> None:
            if isinstance(event, DataReceived):
                h2.send_response(event.stream_id, GOOD_HEAD)
                h2.send_data(event.stream_id, b"\0\xff\xff\xff\xff")

        speak(connected, answer)

    with scripted(script) as address, asker(kind, address) as ask:
        assert failure(ask, UNARY).code == codes.RESOURCE_EXHAUSTED


def test_a_server_that_goes_silent_is_left_with_keepalive(kind: str) -> None:
    def script(connected: socket.socket, number: int) -> None:
        asked = threading.Event()

        def answer(h2: Any, event: Any) -> None:
            if isinstance(event, DataReceived):
                asked.set()
                silence(connected, number)

        speak(connected, answer)

    with (
        scripted(script) as address,
        asker(kind, address, keepalive_s=0.05, keepalive_timeout_s=0.05) as ask,
    ):
        failed = failure(ask, UNARY)
        assert failed.code == codes.UNAVAILABLE
        assert "keepalive" in failed.message


def test_a_server_that_works_long_is_not_left(kind: str) -> None:
    calls = Calls()
    with (
        grpcio(calls=calls) as address,
        asker(kind, address, keepalive_s=0.2, keepalive_timeout_s=10.0) as ask,
    ):
        # grpcio's server suffers few questions.
        timer = threading.Timer(0.3, calls.go_on.set)
        timer.start()
        assert ask.unary(HANG, b"x") == b"x"
        timer.join()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


def test_tls(kind: str, authority: Authority, tmp_path: Path) -> None:
    server, own = authority.issue("server"), authority.issue("client")
    root = authority.file.read_bytes()
    plain = grpc.ssl_server_credentials([server.pem()])
    with grpcio(credentials=plain) as address:
        with asker(kind, address, tls_context(authority.file)) as ask:
            assert ask.unary(UNARY, b"x" * 100_000) == b"x" * 100_000
            assert len(list(ask.stream(BOTH, [bytes(300_000)] * 4))) == 4
        with asker(kind, address, tls_context(Authority(tmp_path, "other").file)) as ask:
            failed = failure(ask, UNARY)
            assert failed.code == codes.UNAVAILABLE
            assert "certificate" in failed.message.lower()
        with asker(kind, address) as ask:
            assert failure(ask, UNARY).code == codes.UNAVAILABLE
    mutual = grpc.ssl_server_credentials([server.pem()], root, require_client_auth=True)
    with grpcio(credentials=mutual) as address:
        with asker(kind, address, tls_context(authority.file, own.certificate, own.key)) as ask:
            assert ask.unary(UNARY, b"x") == b"x"
        with asker(kind, address, tls_context(authority.file)) as ask:
            assert failure(ask, UNARY).code == codes.UNAVAILABLE


def test_tls_files_that_do_not_fit(authority: Authority, tmp_path: Path) -> None:
    own = authority.issue("own")
    with pytest.raises(ConfigError, match="both or none"):
        tls_context(certificate=own.certificate)
    with pytest.raises(ConfigError, match="TLS files"):
        tls_context(ca=tmp_path / "nothing")
    with pytest.raises(ConfigError, match="TLS files"):
        tls_context(certificate=own.key, key=own.certificate)


def test_a_peer_that_speaks_tls_but_not_h2(kind: str, authority: Authority) -> None:
    pair = authority.issue("other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    def script(connected: socket.socket, number: int) -> None:
        with context.wrap_socket(connected, server_side=True) as wrapped:
            wrapped.recv(100)

    with scripted(script) as address, asker(kind, address, tls_context(authority.file)) as ask:
        assert "ALPN" in failure(ask, UNARY).message


def test_a_context_of_the_callers_is_left_as_it_is(kind: str, authority: Authority) -> None:
    pair = authority.issue("both")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pair.certificate, pair.key)
    serving.set_alpn_protocols(["h2", "http/1.1"])
    agreed: list[str | None] = []

    def script(connected: socket.socket, number: int) -> None:
        with serving.wrap_socket(connected, server_side=True) as wrapped:
            agreed.append(wrapped.selected_alpn_protocol())
            wrapped.recv(100)

    own = ssl.create_default_context(cafile=authority.file)
    with scripted(script) as address:
        with asker(kind, address, own) as ask:
            assert "was not asked for it" in failure(ask, UNARY).message
        own.set_alpn_protocols(["http/1.1"])
        with asker(kind, address, own) as ask:
            failure(ask, UNARY)
        with asker(kind, address, tls_context(authority.file)) as ask:
            failure(ask, UNARY)
    assert agreed == [None, "http/1.1", "h2"]


def test_unix_sockets_and_ipv6(kind: str, tmp_path: Path) -> None:
    with grpcio(f"unix:{tmp_path}/s") as address, asker(kind, address) as ask:
        assert ask.unary(UNARY, b"x") == b"x"
    with grpcio("[::1]:0") as address, asker(kind, address) as ask:
        assert ask.unary(UNARY, b"x") == b"x"


async def test_a_cancelled_task_cancels_at_the_server() -> None:
    calls = Calls()
    with grpcio(calls=calls) as address:
        channel = AsyncChannel(parse_target(address), Wiring(Limits()), None, Backoff(lambda: 0.5))
        asking = asyncio.ensure_future(channel.unary(HANG, b"").answer())
        await asyncio.to_thread(calls.hung.wait, 30)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await asyncio.to_thread(calls.left.wait, 30)
        assert await channel.unary(UNARY, b"x", TIMEOUT_S).answer() == b"x"
        await channel.close()


async def test_closing_ends_what_is_under_way() -> None:
    calls = Calls()
    with grpcio(calls=calls) as address:
        channel = AsyncChannel(parse_target(address), Wiring(Limits()), None, Backoff(lambda: 0.5))
        asking = asyncio.ensure_future(channel.unary(HANG, b"").answer())
        await asyncio.to_thread(calls.hung.wait, 30)
        await channel.close()
        with pytest.raises(CallFailed) as caught:
            await asking
        assert caught.value.failure.code == codes.CANCELLED
        assert await asyncio.to_thread(calls.left.wait, 30)


def test_closing_from_another_thread_ends_what_is_under_way() -> None:
    calls = Calls()
    with grpcio(calls=calls) as address:
        channel = BlockingChannel(parse_target(address), Wiring(Limits()), None, Backoff(lambda: 0.5))
        codes_seen: list[int] = []

        def wait() -> None:
            try:
                channel.unary(HANG, b"")
            except CallFailed as failed:
                codes_seen.append(failed.failure.code)

        thread = threading.Thread(target=wait)
        thread.start()
        assert calls.hung.wait(30)
        channel.close()
        thread.join(30)
        assert codes_seen == [codes.CANCELLED]


async def test_many_calls_share_one_connection(address: str) -> None:
    channel = AsyncChannel(parse_target(address), Wiring(Limits()), None, Backoff(lambda: 0.5))
    bodies = [b"%d," % number for number in range(2000)]
    # More than a server takes at once: the rest waits here.
    answers = await asyncio.gather(*(channel.unary(PEER, body, TIMEOUT_S).answer() for body in bodies))
    assert [answer.split(b",")[0] + b"," for answer in answers] == bodies
    assert len({answer.split(b",")[1] for answer in answers}) == 1
    await channel.close()


async def test_calls_that_wait_are_bounded() -> None:
    with scripted(silence) as address:
        wiring = Wiring(Limits(), max_waiting_calls=2)
        channel = AsyncChannel(parse_target(address), wiring, None, Backoff(lambda: 0.5))
        waiting = [asyncio.ensure_future(channel.unary(UNARY, b"").answer()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(CallFailed, match="2 calls of this client wait"):
            await channel.unary(UNARY, b"").answer()
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        waiting[0] = asyncio.ensure_future(channel.unary(UNARY, b"", 0.05).answer())
        with pytest.raises(CallFailed, match="deadline"):
            await waiting[0]
        await channel.close()
        with pytest.raises(CallFailed, match="closed"):
            await waiting[1]


@given(st.lists(st.floats(0, 10), max_size=30), st.floats(0, 1))
def test_back_off_grows_and_is_bounded(passed: list[float], uniform: float) -> None:
    backoff = Backoff(lambda: uniform)
    now = 0.0
    assert backoff.may_try(now)
    waits = []
    for step in [*passed, 10.0]:
        backoff.failed(now, "down")
        low, high = 0.0, 10.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (low, middle) if backoff.may_try(now + middle) else (middle, high)
        waits.append(high)
        now += step
    assert waits[0] == pytest.approx(FIRST_S * (1 + JITTER * (2 * uniform - 1)), abs=1e-5)
    assert waits == sorted(waits) or max(waits) - min(waits) < 1e-5 or waits[-1] >= waits[0]
    assert waits[-1] <= LONGEST_S * (1 + JITTER) + 1e-5
    backoff.succeeded()
    assert backoff.may_try(now)


def test_no_server_is_asked_while_it_is_left_in_peace() -> None:
    tried: list[int] = []
    now = [0.0]

    def script(connected: socket.socket, number: int) -> None:
        tried.append(number)

    with scripted(script) as address:
        channel = BlockingChannel(
            parse_target(address), Wiring(Limits()), None, Backoff(lambda: 0.5), lambda: now[0]
        )
        for _ in range(20):
            with pytest.raises(CallFailed, match="failed to connect"):
                channel.unary(UNARY, b"")
        now[0] += FIRST_S
        with pytest.raises(CallFailed, match="failed to connect"):
            channel.unary(UNARY, b"")
        channel.close()
    assert tried == [0, 1]


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("localhost:80", Target("localhost", 80, "", "localhost:80")),
        ("[::1]:8001", Target("::1", 8001, "", "[::1]:8001")),
        ("unix:/a/b", Target("", 0, "/a/b", "localhost")),
        ("unix:///a/b", Target("", 0, "/a/b", "localhost")),
    ],
)
def test_addresses(address: str, target: Target) -> None:
    assert parse_target(address) == target


@pytest.mark.parametrize(
    "address",
    [
        *("", "host", "host:", ":80", "host:0", "host:65536", "::1:80", "[]:80", "unix:", "a b:1", "h:¹"),
        *("a..b:80", ".a:80", "x" * 64 + ".com:80", "[a..b]:80"),
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_target(address)


def test_a_stream_that_was_given_up_leaves_no_connection_behind_that_cannot_be_used(
    kind: str, address: str
) -> None:
    with asker(kind, address, max_message_bytes=1000) as ask:
        for _ in range(50):
            with pytest.raises(CallFailed, match="1001 bytes, and the limit is 1000"):
                list(ask.stream(BOTH, [bytes(1001)]))
            assert ask.unary(UNARY, b"x") == b"x"
