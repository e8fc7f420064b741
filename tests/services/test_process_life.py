"""Starting, dying and stopping: of the server, and of its worker."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from steelyard.addresses import Address, parse_address
from steelyard.config import Settings
from steelyard.errors import ConfigError
from steelyard.supervisor.listeners import Handed
from steelyard.supervisor.listening import ReservedPort
from steelyard.supervisor.process import WorkerProcess
from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.generated import health as health_pb
from tests.attacks.attacker import Attacker, message
from tests.support import models
from tests.support.asking import SERVICE, TIMEOUT_S, Asker, arrays, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
Start = Callable[..., Server]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    models.put(path, "double", models.scaled())
    return path


def refused(server: Server) -> str:
    """The output of a server that must not start, and end with an exit status of its own."""
    status = eventually(lambda: server.process.poll() is not None and (server.process.returncode,))
    assert status[0] in (1, 2), server.output()
    assert "Traceback" not in server.output()
    return server.output()


def test_a_repository_that_is_not_there(start: Start, tmp_path: Path) -> None:
    output = refused(start(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in output
    assert "nothing is there" in output
    assert not (tmp_path / "nowhere").exists()


def test_a_repository_that_is_a_file(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no directory")
    output = refused(start(file))
    assert str(file) in output
    assert "directory" in output


def test_a_repository_that_is_a_circle_of_links(start: Start, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    output = refused(start(tmp_path / "circle"))
    assert str(tmp_path / "circle") in output
    assert "cannot be read" in output


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_repository_that_cannot_be_read(start: Start, repository: Path) -> None:
    repository.chmod(0)
    try:
        output = refused(start(repository))
    finally:
        repository.chmod(0o700)
    assert str(repository) in output
    assert "cannot be read" in output


@pytest.mark.parametrize("setting", ["grpc_address", "http_address"])
def test_a_port_in_use(start: Start, repository: Path, setting: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        output = refused(start(repository, **{setting: address}))
    for part in (setting, address, "in use"):
        assert part in output


def test_the_ports_of_another_server(start: Start, repository: Path, tmp_path: Path) -> None:
    first = start(repository).wait_ready()
    for setting in ("grpc_address", "http_address"):
        address = getattr(first.running, setting)
        output = refused(start(repository, data=str(tmp_path / f"data-{setting}"), **{setting: address}))
        assert address in output
        assert "in use" in output
    assert first.is_ready()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::1]"])
def test_a_port_is_kept_before_and_between_the_workers_who_listen_on_it(host: str) -> None:
    with contextlib.closing(ReservedPort("grpc_address", parse_address(f"{host}:0"))) as kept:
        address = kept.address
        with pytest.raises(ConfigError, match="in use"):
            ReservedPort("grpc_address", address)
        with socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET) as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind((address.host, address.port))
            worker.listen()
            with pytest.raises(ConfigError, match="in use"):
                ReservedPort("grpc_address", address)


def test_an_address_that_this_machine_does_not_have(start: Start, repository: Path) -> None:
    output = refused(start(repository, grpc_address="192.0.2.1:0"))
    assert "192.0.2.1:0" in output
    assert "cannot listen" in output


def test_two_servers_on_one_data_directory(start: Start, repository: Path) -> None:
    first = start(repository).wait_ready()
    output = refused(start(repository))
    for part in ("another server", str(first.data), str(first.running.pid)):
        assert part in output
    assert first.is_ready()
    with Asker(first.address) as own:
        assert own.infer("double", ONES)


def test_after_a_stop_the_data_directory_and_the_ports_are_free(start: Start, repository: Path) -> None:
    first = start(repository).wait_ready()
    grpc_address, http_address = first.running.grpc_address, first.running.http_address
    with Asker(first.address) as own:
        assert own.infer("double", ONES)
    assert first.stop() == 0
    second = start(repository, grpc_address=grpc_address, http_address=http_address).wait_ready()
    assert second.address == grpc_address


def test_the_worker_is_killed_and_comes_back(start: Start, repository: Path) -> None:
    models.put(repository, "stall", models.stall())
    models.put(repository, "out", models.scaled())
    server = start(repository).wait_ready()
    with Asker(server.address) as own:
        for _ in range(3):
            own.infer("double", ONES)
        own.call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="out"))
        before = metrics(server, model="double")
        under_way = own.start(request("stall", {"turns": np.array([20_000_000], np.int64)}))
        pid = server.worker_pid()
        os.kill(pid, signal.SIGKILL)
        assert under_way.code() is grpc.StatusCode.UNAVAILABLE
        eventually(lambda: not server.is_ready(), every_s=0.001)
        assert server.get("/v2/health/live")[0] == 200
        assert server.get("/metrics")[0] == 200
        eventually(server.is_ready)
        eventually(lambda: server.worker_pid() != pid)
        own.call("ModelInfer", request("double", ONES), wait_for_ready=True)
        after = metrics(server, model="double")
        assert after["steelyard_requests_received_total"] == before["steelyard_requests_received_total"] + 1
        assert after.outcome("answered") == before.outcome("answered") + 1
        assert metrics(server)["steelyard_worker_restarts_total"] == 1
        # What was unloaded by request stays out.
        assert own.refused(request("out", ONES)).code is grpc.StatusCode.UNAVAILABLE
        whole = metrics(server)
        ended = sum(whole.outcome(n) for n in ("answered", "refused", "failed", "cancelled", "lost"))
        assert whole["steelyard_requests_received_total"] == ended


def test_a_worker_that_dies_while_the_repository_is_away_comes_back_with_it(
    start: Start, repository: Path
) -> None:
    server = start(repository).wait_ready()
    pid = server.worker_pid()
    away = repository.rename(repository.with_name("away"))
    os.kill(pid, signal.SIGKILL)

    def refusals() -> list[dict[str, Any]]:
        return [died for died in server.events("worker.died") if died["reason"]]

    for died in eventually(lambda: refusals() if len(refusals()) > 1 else []):
        assert str(repository) in died["reason"]
        assert "nothing is there" in died["reason"]
    assert not server.is_ready()
    assert server.get("/v2/health/live")[0] == 200
    away.rename(repository)
    eventually(server.is_ready)
    with Asker(server.address) as own:
        assert own.infer("double", ONES)
    # What came between was no refusal to start.
    assert server.stop() == 0


# A port that is in use is the supervisor's to find where the front is http2: its workers get sockets that listen.
@pytest.mark.parametrize(
    ("served_by", "missing"), [("http2", "repository"), ("grpcio", "repository"), ("grpcio", "port")]
)
async def test_a_first_worker_that_cannot_serve_says_why_and_is_not_started_again(
    repository: Path, tmp_path: Path, served_by: Any, missing: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address("127.0.0.1", 0 if missing == "repository" else listening.getsockname()[1])
        if missing == "repository":
            repository = tmp_path / "nowhere"
        settings = Settings(repository=repository, data=tmp_path / "data", front=served_by)
        handed = Handed(str(address), False, listening.fileno() if served_by == "http2" else -1)
        worker = WorkerProcess(0, settings, [handed])
        await asyncio.wait_for(worker.run(), TIMEOUT_S)
        assert worker.refusal is not None
        assert str(repository if missing == "repository" else address) in worker.refusal
        assert worker.view().restarts == 0
        worker.close()


def test_while_the_worker_comes_back_nothing_is_not_found(start: Start, repository: Path) -> None:
    for n in range(60):
        models.put(repository, f"m{n}", models.scaled())
    server = start(repository).wait_ready()
    codes = set()
    with Asker(server.address) as own:
        os.kill(server.worker_pid(), signal.SIGKILL)
        eventually(lambda: not server.is_ready(), every_s=0.001)
        while not server.is_ready():
            call = own.start(request("m59", ONES), timeout=5)
            codes.add(call.code())
    assert codes <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK}


def test_the_worker_does_not_outlive_a_supervisor_that_is_killed(start: Start, repository: Path) -> None:
    server = start(repository).wait_ready()
    worker = psutil.Process(server.worker_pid())
    server.process.kill()
    server.process.wait()
    eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    # And nothing that it left keeps another from starting.
    assert start(repository).wait_ready().is_ready()


def test_at_a_stop_what_is_under_way_is_answered_and_what_comes_is_refused(
    start: Start, repository: Path
) -> None:
    models.put(repository, "stall", models.stall(), manifest="[serving]\ninstances = 1\n")
    server = start(repository).wait_ready()
    count = 300_000
    turns = {"turns": np.array([count], np.int64)}
    with Asker(server.address) as own, Asker(server.address) as late:
        assert late.infer("double", ONES)
        own.infer("stall", turns)
        under_way = [own.start(request("stall", turns)) for _ in range(3)]
        eventually(lambda: metrics(server, model="stall")["steelyard_in_flight"] == 3)
        watch = late.channel.unary_stream("/grpc.health.v1.Health/Watch")(
            health_pb.HealthCheckRequest().SerializeToString(), timeout=60
        )
        assert health_pb.HealthCheckResponse.FromString(next(watch)).status == 1
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: not server.is_ready(), every_s=0.001)
        assert health_pb.HealthCheckResponse.FromString(next(watch)).status == 2
        # What comes just then may have been on its way, and is answered.
        refusal = eventually(lambda: late.refused(request("double", ONES)))
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert "stopping" in refusal.message
        for call in under_way:
            assert arrays(pb.ModelInferResponse.FromString(call.result()))["count"].tolist() == [count]
    assert server.stop() == 0


def test_at_a_stop_callers_are_told_at_once_and_streams_go_on_while_there_is_time(
    start: Start, repository: Path
) -> None:
    models.put(repository, "stall", models.stall(), manifest="[serving]\ninstances = 1\n")
    server = start(repository).wait_ready()
    turns = {"turns": np.array([2_000_000], np.int64)}
    with (
        Asker(server.address) as own,
        Asker(server.address) as streaming,
        Attacker(server.address) as attacker,
    ):
        own.infer("stall", {"turns": np.array([200_000], np.int64)})
        under_way = own.start(request("stall", turns))
        eventually(lambda: metrics(server, model="stall")["steelyard_in_flight"] == 1)
        asked: SimpleQueue[Any] = SimpleQueue()
        answers = streaming.channel.stream_stream(f"{SERVICE}ModelStreamInfer")(
            iter(asked.get, None), timeout=TIMEOUT_S
        )
        asked.put(request("double", ONES).SerializeToString())
        assert not pb.ModelStreamInferResponse.FromString(next(answers)).error_message
        assert attacker.settle()
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: attacker.settle() and attacker.last_streams)
        # On its way when the end was announced, and on a connection that was there.
        good = message(request("double", ONES).SerializeToString())
        attacker.send(attacker.call(data=good, end=True))
        attacker.wait_for_trailers(1)
        assert attacker.data_bytes > 0
        attacker.read_to_end()
        assert attacker.last_streams == [(1 << 31) - 1, 1]
        assert not under_way.done()
        assert under_way.result()
        asked.put(request("double", ONES).SerializeToString())
        refusal = pb.ModelStreamInferResponse.FromString(next(answers))
        assert "stopping" in refusal.error_message
        asked.put(None)
        assert list(answers) == []
        assert answers.code() is grpc.StatusCode.OK
    assert server.stop() == 0


def test_a_second_signal_does_not_wait(start: Start, repository: Path) -> None:
    models.put(repository, "stall", models.stall())
    server = start(repository).wait_ready()
    with Asker(server.address) as own:
        own.infer("stall", {"turns": np.array([200_000], np.int64)})
        forever = own.start(request("stall", {"turns": np.array([2**40], np.int64)}))
        eventually(lambda: metrics(server, model="stall")["steelyard_in_flight"] == 1)
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: server.events("worker.draining"))
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0
        assert forever.code() is grpc.StatusCode.UNAVAILABLE


def test_a_stop_ends_after_the_drain_timeout(start: Start, repository: Path) -> None:
    models.put(repository, "stall", models.stall())
    server = start(repository, drain_timeout_s=0.2).wait_ready()
    worker = psutil.Process(server.worker_pid())
    with Asker(server.address) as own:
        own.infer("stall", {"turns": np.array([200_000], np.int64)})
        forever = own.start(request("stall", {"turns": np.array([2**40], np.int64)}))
        eventually(lambda: metrics(server, model="stall")["steelyard_in_flight"] == 1)
        assert server.stop() == 0
        assert forever.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert not worker.is_running()


def test_a_stop_while_models_are_being_loaded(start: Start, repository: Path) -> None:
    for n in range(300):
        models.put(repository, f"m{n}", models.scaled(float(n)))
    server = start(repository, log_level="debug")
    eventually(lambda: server.events("version.ready"))
    assert server.stop() == 0
    # A stop that waited would have seen them all loaded.
    assert 0 < len(server.events("version.ready")) < 300
    assert not server.events("server.ready")
    assert server.events("worker.draining")


def test_many_models(start: Start, repository: Path) -> None:
    for n in range(200):
        models.put(repository, f"m{n}", models.scaled(float(n)))
    server = start(repository).wait_ready()
    worker = psutil.Process(server.worker_pid())
    assert worker.num_threads() < 64
    with Asker(server.address) as own:
        calls = [own.start(request(f"m{n}", ONES)) for n in range(200)]
        for n, call in enumerate(calls):
            assert arrays(pb.ModelInferResponse.FromString(call.result()))["y"][0, 0] == n
    status, page = server.get("/metrics")
    assert status == 200
    assert page.count("steelyard_requests_received_total{") == 200


OWNED = """
[governance]
owner = "scales@example.org"
developed_by = "science@example.org"
validated_by = "checks@example.org"
purpose = "doubles numbers"
retire_on = 2099-01-01
"""


def test_production_refuses_what_nobody_owns(start: Start, repository: Path) -> None:
    models.put(repository, "owned", models.scaled(), manifest=OWNED)
    server = start(repository, profile="production").wait_ready()
    with Asker(server.address) as own:
        assert own.infer("owned", ONES)
        refusal = own.refused(request("double", ONES))
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        for part in ("'double'", "production", "owner", "retire_on"):
            assert part in refusal.message


@pytest.mark.parametrize("port", ["grpc_address", "http_address"])
def test_bytes_on_a_port_that_are_not_its_protocol(start: Start, repository: Path, port: str) -> None:
    server = start(repository).wait_ready()
    host, number = getattr(server.running, port).rsplit(":", 1)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for sent in (
        b"",
        b"\0" * 10_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n" + b"A: b\r\n" * 5_000,
        preface,
        preface + b"\0\0\0\x04\0\0\0\0\0" + b"\xff" * 5_000,
        preface + b"\xff\xff\xff\0\0\0\0\0\x01",
    ):
        with socket.create_connection((host, int(number)), timeout=10) as connection:
            connection.sendall(sent)
    with Asker(server.address) as own:
        assert own.infer("double", ONES)
    assert server.is_ready()
    assert not server.events("worker.died")


def test_an_empty_repository_is_served(start: Start, tmp_path: Path) -> None:
    server = start().wait_ready()
    with Asker(server.address) as own:
        assert own.call("ServerReady").ready
        assert own.refused(request("double", ONES)).code is grpc.StatusCode.NOT_FOUND


def test_no_reflection_where_it_is_switched_off(start: Start, repository: Path) -> None:
    server = start(repository, reflection=False).wait_ready()
    with Asker(server.address) as own:
        stream = own.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as caught:
            list(stream(iter([b""]), timeout=10))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_line_for_each_request_where_it_is_asked_for(start: Start, repository: Path) -> None:
    server = start(repository, log_requests=True).wait_ready()
    with Asker(server.address) as own:
        response = own.call("ModelInfer", request("double", ONES))
        own.refused(request("nobody", ONES))
    decision = response.parameters["steelyard_decision_id"].string_param

    def lines() -> list[dict[str, Any]]:
        found = server.events("request")
        return found if len(found) == 2 else []

    good, bad = eventually(lines)
    assert (good["decision_id"], good["model"], good["version"], good["error"]) == (
        decision,
        "double",
        1,
        None,
    )
    assert "'nobody'" in bad["error"]
