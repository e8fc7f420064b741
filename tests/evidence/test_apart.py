"""What a function in a process of its own gives, and what is said of one that ends otherwise."""

import asyncio
import decimal
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from steelyard.errors import EvidenceError, ModelNotFound
from steelyard.evidence.apart import ReaderEnded, apart, apart_async
from tests.evidence.journals import Flag
from tests.support.waiting import until

HERE = "tests.evidence.test_apart"


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process apart does not look where it is started: it finds what the path says."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, *filter(None, sys.path)]))


class Unwelcome:
    """Its pickle calls a function of the reader's."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["TESTED_PATH"],)


def given(*values: Any) -> Any:
    """Prints as libraries do."""
    print("a word of a library's")
    return values


def raising(error: Exception) -> None:
    raise error


def signalled(number: int) -> None:
    os.kill(os.getpid(), number)


def exiting() -> None:
    sys.exit("the reason of it")


def unwelcome() -> Any:
    return Unwelcome()


def cut_off() -> None:
    """Half an answer."""
    (answer,) = (int(one) for one in os.listdir("/proc/self/fd") if int(one) > 2 and _is_pipe(int(one)))
    whole = pickle.dumps(("x" * 1000, None))
    os.write(answer, whole[: len(whole) // 2])
    os._exit(0)


def _is_pipe(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")
    except OSError:
        return False


def for_ever(path: Path) -> None:
    path.write_text(str(os.getpid()))
    signal.pause()


def test_values_come_back_and_what_is_printed_is_none() -> None:
    values = ({"a": [1, b"2", None]}, Path("x"), decimal.Decimal("1.5"), Flag.TRACE, {"set"})
    assert apart(f"{HERE}:given", *values) == values
    assert asyncio.run(apart_async(f"{HERE}:given", *values)) == values


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("raising", EvidenceError("damaged")), "^damaged$"),
        (("raising", LookupError("row 7")), "LookupError: row 7.*if a file is damaged"),
        (("raising", ModuleNotFoundError("no such", name="pyarrow")), "without pyarrow$"),
        (("raising", MemoryError()), "the memory is not enough$"),
        (("raising", OSError(24, "Too many open files")), "Too many open files$"),
        (("signalled", signal.SIGABRT), "SIGABRT, as it does over a damaged file"),
        (("signalled", signal.SIGKILL), "from outside with SIGKILL, as it is where the memory"),
        (("signalled", signal.SIGTERM), "from outside with SIGTERM$"),
        (("exiting",), "status 1: the reason of it$"),
        (("cut_off",), "expected an answer.* bytes that are none"),
    ],
)
def test_every_other_end_is_told_as_what_it_is(call: tuple[Any, ...], told: str) -> None:
    name, *arguments = call
    with pytest.raises(EvidenceError, match=told):
        apart(f"{HERE}:{name}", *arguments)


def test_errors_of_the_package_stay_what_they_are() -> None:
    with pytest.raises(ModelNotFound, match="no such model"):
        apart(f"{HERE}:raising", ModelNotFound("no such model"))


def test_an_answer_calls_nothing_of_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "made"
    monkeypatch.setenv("TESTED_PATH", str(path))
    with pytest.raises(EvidenceError, match=r"bytes that are none \(UnpicklingError\)"):
        apart(f"{HERE}:unwelcome")
    assert not path.exists()


async def test_what_takes_too_long_or_is_cancelled_is_killed(tmp_path: Path) -> None:
    with pytest.raises(ReaderEnded, match=r"not within 0\.01 s"):
        apart(f"{HERE}:for_ever", tmp_path / "first", within_s=0.01)
    with pytest.raises(ReaderEnded, match=r"not within 0\.01 s"):
        await apart_async(f"{HERE}:for_ever", tmp_path / "second", within_s=0.01)
    path = tmp_path / "third"
    running = asyncio.ensure_future(apart_async(f"{HERE}:for_ever", path))
    await until(lambda: path.exists() and path.read_text())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not psutil.pid_exists(int(path.read_text()))
