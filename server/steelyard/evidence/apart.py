"""A function in a process of its own: over some damaged footers Arrow ends the process, and nobody can catch that."""

import asyncio
import contextlib
import dataclasses
import enum
import importlib
import io
import os
import pickle
import signal
import subprocess
import sys
from typing import Any

from steelyard.errors import EvidenceError, SteelyardError

# The largest data directory is read in a tenth of it, also at idle priority beside others.
READ_WITHIN_S = 600.0

# What is told of an error that nobody thought of.
_MAX_TOLD_CHARS = 500

# How damage ends a process; others of them, such as SIGKILL and SIGTERM, come from outside.
_FAULTS = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}

# Where values in a result may come from, beside what pickles make by themselves and this package's own.
_VALUE_MODULES = {"datetime", "decimal", "pathlib", "uuid"}
_VALUE_FUNCTIONS = {("pytz", "_UTC"), ("pytz", "_p")}

# Without the directory it is called in: what lies there is not ours.
_COMMAND = (sys.executable, "-P", "-m", "steelyard.evidence.apart")


class ReaderEnded(EvidenceError):
    """The process was ended as damage ends it, or did not come to an end."""


def apart(target: str, *arguments: Any, within_s: float = READ_WITHIN_S) -> Any:
    """What "module:function" gives for `arguments`, called in a process of its own. Both travel as pickles: of plain
    values, dataclasses, enums and errors of this package.

    Raises the function's `SteelyardError`; EvidenceError where it raises something else or its process is ended, of
    these ReaderEnded where that is as damage does it, or it takes longer than `within_s`, when the process is killed.
    """
    call = pickle.dumps((target, arguments))
    try:
        done = subprocess.run(_COMMAND, input=call, capture_output=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired:
        raise _late(within_s) from None
    except OSError as error:
        raise _not_started(error) from None
    return _result(done.returncode, done.stdout, done.stderr)


async def apart_async(target: str, *arguments: Any, within_s: float = READ_WITHIN_S) -> Any:
    """As `apart`, beside what else the event loop does. Where it is cancelled, the process is killed first."""
    call = pickle.dumps((target, arguments))
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*_COMMAND, stdin=pipe, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise _not_started(error) from None
    try:
        async with asyncio.timeout(within_s):
            output, told = await process.communicate(call)
    except TimeoutError:
        raise _late(within_s) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    assert process.returncode is not None
    return _result(process.returncode, output, told)


def _late(within_s: float) -> ReaderEnded:
    return ReaderEnded(f"what is sealed cannot be read: not within {within_s:g} s")


def _not_started(error: OSError) -> EvidenceError:
    return EvidenceError(f"what is sealed cannot be read: no process can be started: {error.strerror}")


def _result(status: int, output: bytes, told: bytes) -> Any:
    if status:
        raise _ended(status, told)
    try:
        result, error = _Values(io.BytesIO(output)).load()
    except Exception as wrong:  # a pickle that is cut off, or is none, raises nearly anything
        raise EvidenceError(
            f"what is sealed cannot be read: expected an answer of the process that read it, came {len(output)} "
            f"bytes that are none ({type(wrong).__name__})"
        ) from None
    if error is not None:
        raise error
    return result


def _ended(status: int, told: bytes) -> EvidenceError:
    what = "what is sealed cannot be read: the process that read it"
    if status > 0:
        lines = told.decode(errors="replace").strip().splitlines() or [""]
        return EvidenceError(f"{what} ended with status {status}: {lines[-1][:_MAX_TOLD_CHARS]}")
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if -status in _FAULTS:
        damaged = "as it does over a damaged file: steelyard audit verify says which"
        return ReaderEnded(f"{what} ended with {name}, {damaged}")
    more = ", as it is where the memory is not enough" if -status == signal.SIGKILL else ""
    return EvidenceError(f"{what} was ended from outside with {name}{more}")


class _Values(pickle.Unpickler):
    """Makes values and calls nothing else: what comes was written by a process that reads files of others."""

    def find_class(self, module: str, name: str) -> Any:
        if "." not in name and _is_allowed(module, name):
            return getattr(importlib.import_module(module), name)
        raise pickle.UnpicklingError(f"expected values, came {module}.{name}"[:_MAX_TOLD_CHARS])


def _is_allowed(module: str, name: str) -> bool:
    if (module, name) in _VALUE_FUNCTIONS:
        return True
    package = module.partition(".")[0]
    if package not in _VALUE_MODULES and package != "steelyard":
        return False
    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, type):
        return False
    ours = dataclasses.is_dataclass(found) or issubclass(found, (SteelyardError, enum.Enum))
    return ours or package in _VALUE_MODULES


def _called(target: str, arguments: tuple[Any, ...]) -> tuple[Any, SteelyardError | None]:
    """What the function gives, or the error that its caller is told."""
    module, _, function = target.partition(":")
    try:
        return getattr(importlib.import_module(module), function)(*arguments), None
    except SteelyardError as raised:
        return None, raised
    except ImportError as raised:
        return None, EvidenceError(f"what is sealed cannot be read without {raised.name}")
    except MemoryError:
        return None, EvidenceError("what is sealed cannot be read: the memory is not enough")
    except Exception as raised:
        told = f"{type(raised).__name__}: {raised}"[:_MAX_TOLD_CHARS]
        if isinstance(raised, OSError) and raised.errno is not None:
            # The system's word, not that of what is in a file.
            return None, EvidenceError(f"what is sealed cannot be read: {told}")
        return None, EvidenceError(
            f"what is sealed cannot be read ({told}): if a file is damaged, steelyard audit verify says which"
        )


def main() -> None:
    """Takes the call from the standard input, and gives what came of it to the standard output."""
    with os.fdopen(os.dup(1), "wb") as output:
        # What a library prints is not part of the answer.
        os.dup2(2, 1)
        pickle.dump(_called(*pickle.load(sys.stdin.buffer)), output)


if __name__ == "__main__":
    main()
