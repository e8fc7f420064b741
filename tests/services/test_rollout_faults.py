"""What goes wrong around a rollout: full disks, files that are none, workers that die, manifests that break."""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from steelyard.errors import ExecutionFailed, LoadFailed, SteelyardError
from steelyard.evidence.log import EVENTS_FILE
from tests.services.operator import Operator, details
from tests.support import models
from tests.support.asking import Asker, arrays, request
from tests.support.server import Server
from tests.support.waiting import eventually

Start = Callable[..., Server]
ONES = {"x": np.ones((1, 4), np.float32)}
ALL = "[serving]\nversions = { all = true }\n"


def fill(repository: Path, name: str, *factors: float, manifest: str = ALL) -> None:
    for number, factor in enumerate(factors, 1):
        models.put(repository, name, models.scaled(factor), number, manifest)


def answer(asker: Asker, model: str = "m") -> tuple[str, float]:
    response = asker.call("ModelInfer", request(model, ONES))
    return response.model_version, float(arrays(response)["y"][0, 0])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    fill(tmp_path / "models", "m", 1.0, 2.0, 3.0)
    return tmp_path / "models"


def limit_files(server: Server, most: int) -> None:
    """No file of the server's may grow beyond this, as on a disk that is full."""
    unlimited = psutil.RLIM_INFINITY
    psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_FSIZE, (most or unlimited, unlimited))


def test_a_disk_that_is_full_refuses_changes_and_nothing_else(start: Start, repository: Path) -> None:
    server = start(repository, poll_interval_s=0.05).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        operator.set("m", "champion", "1")
        limit_files(server, (server.data / EVENTS_FILE).stat().st_size)
        with pytest.raises((ExecutionFailed, SteelyardError), match="cannot be written"):
            operator.set("m", "champion", "2")
        assert answer(asker) == ("1", 1.0)
        assert operator.labels("m")["champion"] == (1, False)
        fill(repository, "new", 5.0)
        assert eventually(lambda: answer(asker, "new")) == ("1", 5.0)
        limit_files(server, 0)
        eventually(lambda: operator.labels("new")["champion"] == (1, True))
        operator.set("m", "champion", "2")
        assert answer(asker) == ("2", 2.0)
    server.stop()
    again = start(repository, data=str(server.data)).wait_ready()
    with Operator(again.data) as operator:
        assert operator.labels("m")["champion"] == (2, False)


def test_a_rollback_is_in_force_although_its_shadows_report_cannot_be_written(
    start: Start, repository: Path
) -> None:
    server = start(repository).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        operator.set("m", "champion", "1")
        operator.set("m", "champion", "2")
        operator.start_shadow("m", "3")
        answer(asker)
        shutil.rmtree(server.data / "shadows")
        (server.data / "shadows").write_text("no directory")
        operator.roll_back("m")
        assert answer(asker) == ("1", 1.0)
        assert operator.labels("m")["champion"] == (1, False)
        assert operator.trials("m")["shadows"] == []


@pytest.mark.parametrize("content", ["[]", "{}", "nothing", '{"step": 0, "digest": 1, "gate": []}'])
def test_counts_that_cannot_be_taken_up_are_counted_anew(
    start: Start, repository: Path, content: str
) -> None:
    server = start(repository).wait_ready()
    with Operator(server.data) as operator:
        operator.set("m", "champion", "1")
        canary = operator.start_canary("m", "2", 0.5).sequence
        shadow = operator.start_shadow("m", "3").sequence
    server.stop()
    for number in (canary, shadow):
        (server.data / "rollouts" / f"{number}.json").write_text(content)
    server = start(repository, data=str(server.data)).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        assert operator.trials("m")["canary"]["number"] == canary
        eventually(lambda: operator.trials("m")["shadows"])
        assert operator.trials("m")["shadows"][0]["number"] == shadow
        answer(asker)


def test_a_canary_is_not_promoted_to_what_cannot_be_loaded(start: Start, repository: Path) -> None:
    server = start(repository).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        operator.set("m", "champion", "1")
        operator.start_canary("m", "2", 0.5)
        shutil.rmtree(repository / "m" / "2")
        os.kill(server.worker_pid(), signal.SIGKILL)
    with Operator(server.data) as operator, Asker(server.address) as asker:
        eventually(lambda: answer(asker))
        with pytest.raises(SteelyardError):
            operator.promote_canary("m")
        assert {answer(asker) for _ in range(20)} == {("1", 1.0)}
        assert operator.labels("m")["champion"] == (1, False)
        assert operator.trials("m")["canary"] is not None


def test_a_manifest_that_breaks_renames_no_label(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    fill(repository, "m", 1.0, 2.0, manifest=ALL + '[rollout]\ndefault_label = "prod"\n')
    server = start(repository).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        operator.set("m", "prod", "1")
        # Whole, as an empty manifest on the way would be a good one.
        broken = repository / "m" / ".model.toml"
        broken.write_text("[rollout\n")
        broken.rename(repository / "m" / "model.toml")
        operator.roll_back("m")
        assert operator.labels("m") == {"prod": (2, False)}
        assert answer(asker) == ("2", 2.0)


def test_a_default_label_that_is_renamed_ends_what_ran_beside_the_old_one(
    start: Start, repository: Path
) -> None:
    server = start(repository, poll_interval_s=0.05).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        operator.set("m", "champion", "1")
        operator.set("m", "live", "2")
        operator.start_canary("m", "3", 0.5)
        (repository / "m" / "model.toml").write_text(ALL + '[rollout]\ndefault_label = "live"\n')
        eventually(lambda: {answer(asker) for _ in range(20)} == {("2", 2.0)})
        eventually(lambda: operator.trials("m")["canary"] is None)


def test_a_drill_in_which_the_worker_dies_has_failed(start: Start, repository: Path) -> None:
    server = start(repository).wait_ready()
    with Operator(server.data) as operator, ThreadPoolExecutor(1) as pool:
        operator.set("m", "champion", "1")
        with Asker(server.address) as asker, Operator(server.data) as other:
            drill = pool.submit(other.roll_back, "m", drill=True, stay_ms=3000)
            eventually(lambda: answer(asker) == ("3", 3.0))
            os.kill(server.worker_pid(), signal.SIGKILL)
            assert details(drill.result())["outcome"] == "a worker ended meanwhile"
    with Asker(server.address) as asker:
        assert eventually(lambda: answer(asker)) == ("1", 1.0)


def test_a_rollback_that_waits_before_a_drill_begins_to_stay_does_not_wait_for_it(
    start: Start, repository: Path
) -> None:
    server = start(repository).wait_ready()
    with Operator(server.data) as operator, Operator(server.data) as other, ThreadPoolExecutor(2) as pool:
        operator.set("m", "champion", "1")
        operator.set("m", "champion", "2")
        for _ in range(5):
            drill = pool.submit(operator.roll_back, "m", drill=True, stay_ms=60_000)
            moved: Any = pool.submit(other.set, "m", "champion", "3")
            moved.result(20)
            # Whichever was first, this one comes while the drill stays, or after it.
            other.roll_back("m")
            with contextlib.suppress(LoadFailed):
                drill.result(20)


def test_a_version_that_was_loaded_for_a_label_that_failed_goes_again(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    fill(repository, "m", 1.0, 2.0, manifest="[serving]\nversions = { list = [1] }\n")
    server = start(repository).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        with pytest.raises(LoadFailed, match="expected label champion"):
            operator.set("m", "champion", "2", expected=2)
        eventually(lambda: asker.outcome(request("m", ONES, version="2")))
        assert answer(asker) == ("1", 1.0)


def test_a_worker_that_comes_back_to_a_newer_version_ends_the_shadow_of_the_older(
    start: Start, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    fill(repository, "m", 1.0, 2.0, manifest="")
    server = start(repository).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        assert answer(asker) == ("2", 2.0)
        operator.start_shadow("m", "1")
        (process,) = shadow_processes(server)
        fill(repository, "n", 1.0)
        models.put(repository, "m", models.scaled(3.0), 3)
        os.kill(server.worker_pid(), signal.SIGKILL)
    with Operator(server.data) as operator, Asker(server.address) as asker:
        eventually(lambda: answer(asker) == ("3", 3.0))
        eventually(lambda: not operator.trials("m")["shadows"])
        assert details(operator.events("m", "shadow.stopped")[0])["outcome"] == "label moved"
        eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def shadow_processes(server: Server) -> list[psutil.Process]:
    """The processes of a server's shadows."""
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "steelyard.supervisor.shadow_main" in child.cmdline()]
