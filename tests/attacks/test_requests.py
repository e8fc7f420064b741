"""Requests that are none, each on a connection whose other calls go on."""

import random

import grpc
import numpy as np
import pytest

from tests.attacks.attacker import LIVE, Attacker, head, message
from tests.attacks.frames import SETTINGS, frame
from tests.attacks.siege import Siege
from tests.support.asking import Asker, request

WRONG = {
    "content type": [*head(LIVE)[:-1], (b"content-type", b"text/html")],
    "method": [(b":method", b"GET"), *head(LIVE)[1:]],
    "te": [field for field in head(LIVE) if field[0] != b"te"],
    "path": head(b"/nobody/Knows"),
    "no path": [field for field in head(LIVE) if field[0] != b":path"],
    "empty path": head(b""),
    "long path": head(b"/" + b"x" * 8_000),
    "timeout": head(LIVE, (b"grpc-timeout", b"soon")),
    "huge timeout": head(LIVE, (b"grpc-timeout", b"999999999H")),
    "base64": head(LIVE, (b"trace-bin", b"!!!")),
    "percent": head(b"/%zz/%"),
    "unknown encoding": head(LIVE, (b"grpc-encoding", b"br")),
    "upper case": head(LIVE, (b"Upper", b"x")),
    "line feed": head(LIVE, (b"x", b"a\nb")),
    "connection": head(LIVE, (b"connection", b"close")),
    "wrong length": head(LIVE, (b"content-length", b"77")),
}


def test_wrong_requests(siege: Siege) -> None:
    with siege.hold(growth_mb=50), Attacker(siege.address) as attacker:
        for number, (name, fields) in enumerate(WRONG.items(), 1):
            attacker.send(attacker.call(fields, message(b""), end=True))
            assert attacker.settle(), name
            # An answer or a reset, and nothing of another call.
            assert attacker.came[1] + attacker.resets.total() >= number, name


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_compressed_messages_that_are_not(siege: Siege, encoding: bytes) -> None:
    fields = head(LIVE, (b"grpc-encoding", encoding))
    with siege.hold(growth_mb=50), Attacker(siege.address) as attacker:
        for body in (b"", b"plain", b"\x1f\x8b\x08", b"\x78\x9c\xff"):
            attacker.send(attacker.call(fields, message(body, compressed=True), end=True))
        attacker.wait_for_trailers(4)


def test_data_without_end(siege: Siege) -> None:
    with siege.hold(growth_mb=50), Attacker(siege.address) as attacker:
        attacker.send(attacker.call(head(LIVE), message(b"") + b"\0\0", end=True))
        attacker.send(attacker.call(head(LIVE), b"", end=True))
        attacker.send(attacker.call(head(LIVE), end=True))
        attacker.send(attacker.call(head(LIVE), message(b"") * 3, end=True))
        attacker.wait_for_trailers(4)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nhost: here\r\n\r\n",
        b"POST /v2/models HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500),
        b"\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_other_protocols(siege: Siege, said: bytes) -> None:
    with siege.hold(growth_mb=20), Attacker(siege.address, greets=False) as attacker:
        attacker.send(said)
        attacker.read_to_end()
        assert bytes(attacker.raw).startswith(b"HTTP/1.1 505 ")


def test_random_bytes(siege: Siege) -> None:
    chance = random.Random(5)
    with siege.hold(growth_mb=50):
        for greets in [False] * 50 + [True] * 150:
            with Attacker(siege.address, greets=greets) as attacker:
                attacker.send(chance.randbytes(chance.randrange(1, 3_000)))
                attacker.read_what_is_there()


def test_frames_of_random_bytes(siege: Siege) -> None:
    chance = random.Random(6)
    with siege.hold(growth_mb=50):
        for _ in range(200):
            with Attacker(siege.address) as attacker:
                for _ in range(20):
                    attacker.send(
                        frame(
                            chance.randrange(12),
                            chance.randbytes(chance.choice([0, 4, 5, 6, 8, 40])),
                            flags=chance.choice([0, 1, 4, 5, 8, 32, 255]),
                            stream_id=chance.choice([0, 1, 3, 4, 0x7FFFFFFF]),
                        )
                    )
                attacker.read_what_is_there()


@pytest.mark.parametrize("length", [1_000, 100_000, 2_000_000])
def test_names_that_come_back_in_errors(siege: Siege, length: int) -> None:
    with siege.hold(growth_mb=50), Asker(siege.address) as asker:
        for name in ("x" * length, "ü%" * (length // 2)):
            refused = asker.refused(request(name, {"x": np.ones((1, 4), np.float32)}))
            assert refused.code is not grpc.StatusCode.OK
            assert refused.message
            assert len(refused.message) < 4_000


def test_settings_that_forbid_everything(siege: Siege) -> None:
    with siege.hold(growth_mb=20), Attacker(siege.address, greets=False) as attacker:
        nothing = b"".join(key.to_bytes(2) + (0).to_bytes(4) for key in (1, 3, 4, 6))
        attacker.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, nothing))
        attacker.send(attacker.call(head(LIVE), message(b""), end=True))
        # Acknowledges the server's settings once, as it must: twice breaks HTTP/2.
        assert attacker.settle()
        assert attacker.goaway is None
