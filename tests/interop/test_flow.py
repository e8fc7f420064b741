"""Flow control: clients that upload too much, give up half-way, or do not read. Nothing is lost, nothing piles up."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import psutil
import pytest

from tests.interop.bodies import INFER, LIVE, STREAM_INFER, doubled, echo_streamed, echoed, noise
from tests.interop.grpcio_clients import OPTIONS
from tests.support.asking import TIMEOUT_S
from tests.support.server import Server
from tests.support.waiting import eventually

MIB = 1 << 20
BOTH = pytest.mark.parametrize("front", ["http2", "grpcio"])

Start = Callable[..., Server]

# At once on a channel: fewer than a connection's streams, so that none waits for another to end.
AT_ONCE = 20


def resident_mib(server: Server) -> float:
    """Memory of the worker's process."""
    return psutil.Process(server.worker_pid()).memory_info().rss / MIB


def given_up(stream: grpc.StreamStreamMultiCallable, body: bytes) -> grpc.StatusCode:
    """Uploads one message, and cancels while a second is on its way."""
    second = threading.Event()

    def requests() -> Iterator[bytes]:
        yield body
        second.set()
        yield body

    call = stream(requests(), timeout=TIMEOUT_S)
    assert second.wait(TIMEOUT_S)
    call.cancel()
    return call.code()


def refused(infer: grpc.UnaryUnaryMultiCallable, body: bytes) -> grpc.StatusCode:
    """Uploads a message that the server refuses."""
    return infer.future(body, timeout=TIMEOUT_S).code()


@pytest.mark.parametrize("count", [1_500, pytest.param(10_000, marks=pytest.mark.extra)])
def test_uploads_that_are_refused_or_given_up_cost_the_connection_nothing(start: Start, count: int) -> None:
    """The windows of a connection get back what was sent on streams that ended in the middle of a frame."""
    server = start(front="http2", max_message_bytes=64 << 10)
    oversized, large = echoed(noise(256 << 10)), echoed(noise(60 << 10))
    with (
        grpc.insecure_channel(server.address, options=OPTIONS) as channel,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):
        infer, stream = channel.unary_unary(INFER), channel.stream_stream(STREAM_INFER)
        codes = set(threads.map(lambda _: refused(infer, oversized), range(count)))
        assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        codes = set(threads.map(lambda _: given_up(stream, large), range(count)))
        assert codes == {grpc.StatusCode.CANCELLED}
        for body in (doubled(1), large):
            assert infer(body, timeout=TIMEOUT_S)
    assert not server.events("worker.died")


class Uploading:
    """A stream whose requests are handed out as the library takes them, and whose answers nobody reads at first."""

    def __init__(self, channel: grpc.Channel, bodies: list[bytes]) -> None:
        self.handed = 0
        self._bodies = bodies
        self._before = -1
        self.call = channel.stream_stream(STREAM_INFER)(self._requests(), timeout=120)

    def _requests(self) -> Iterator[bytes]:
        for body in self._bodies:
            self.handed += 1
            yield body

    def stands_still(self) -> bool:
        """Whether no further request was taken since this was last asked."""
        stood, self._before = self._before == self.handed, self.handed
        return stood and self.handed > 1


@BOTH
def test_a_sender_who_does_not_read_is_held_back_and_loses_nothing(start: Start, front: str) -> None:
    server = start(front=front, max_message_bytes=2 * MIB)
    contents = [noise(MIB + 4 * n) for n in range(50)]
    with grpc.insecure_channel(server.address, options=OPTIONS) as channel:
        live = channel.unary_unary(LIVE)
        assert live(b"", timeout=TIMEOUT_S)
        before_mib = resident_mib(server)
        uploading = Uploading(channel, [echoed(content) for content in contents])
        eventually(uploading.stands_still, every_s=0.4)
        # What is unread, a window of what may still come, the answers that wait, and what the client's library holds.
        assert uploading.handed < 20
        assert resident_mib(server) - before_mib < 40
        infer = channel.unary_unary(INFER)
        for _ in range(50):
            assert live(b"", timeout=TIMEOUT_S)
            assert infer(doubled(1), timeout=TIMEOUT_S)
        assert infer(echoed(contents[0]), timeout=TIMEOUT_S)
        assert uploading.handed < 20
        assert sorted(map(echo_streamed, uploading.call)) == sorted(contents)
        assert uploading.call.code() is grpc.StatusCode.OK
    assert uploading.handed == len(contents)


@BOTH
def test_a_reader_who_pauses_gets_everything(start: Start, front: str) -> None:
    """It reads a little, stops until nothing moves, and reads on, again and again; others are served meanwhile."""
    server = start(front=front, max_message_bytes=2 * MIB)
    contents = [noise(100_000 + 4 * n) for n in range(500)]
    with grpc.insecure_channel(server.address, options=OPTIONS) as channel:
        uploading = Uploading(channel, [echoed(content) for content in contents])
        found = []
        for _ in range(3):
            eventually(uploading.stands_still, every_s=0.3)
            assert uploading.handed < len(found) + 300
            found += [echo_streamed(body) for body in itertools.islice(uploading.call, 30)]
            assert channel.unary_unary(LIVE)(b"", timeout=TIMEOUT_S)
        found += map(echo_streamed, uploading.call)
    assert sorted(found) == sorted(contents)


@BOTH
def test_streams_that_are_held_back_do_not_hold_each_other(start: Start, front: str) -> None:
    """Twenty senders on one connection of whom none reads, then all do."""
    server = start(front=front, max_message_bytes=MIB)
    contents = [noise(200_000 + 4 * n) for n in range(20)]
    bodies = [echoed(content) for content in contents]
    with grpc.insecure_channel(server.address, options=OPTIONS) as channel:
        uploads = [Uploading(channel, bodies) for _ in range(20)]
        for upload in uploads:
            eventually(upload.stands_still, every_s=0.05)
        assert channel.unary_unary(LIVE)(b"", timeout=TIMEOUT_S)
        found: list[list[bytes]] = [[] for _ in uploads]

        def read(number: int) -> None:
            found[number] = sorted(map(echo_streamed, uploads[number].call))

        readers = [threading.Thread(target=read, args=(number,)) for number in range(len(uploads))]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert found == [sorted(contents)] * len(uploads)
