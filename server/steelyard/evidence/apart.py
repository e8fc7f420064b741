"""A function in a process of its own: over some damaged footers Arrow ends the process, and nobody can catch that."""

import importlib
import pickle
import signal
import subprocess
import sys
from typing import Any

from steelyard.errors import EvidenceError, SteelyardError

# What is told of an error that nobody thought of.
_MAX_TOLD_CHARS = 500


def apart(target: str, *arguments: Any) -> Any:
    """What "module:function" gives for `arguments`, called in a process of its own. Both travel as pickles.

    Raises the function's `SteelyardError`; EvidenceError where it raises something else, or its process is ended.
    """
    # Without the directory it is called in: what lies there is not ours.
    command = [sys.executable, "-P", "-m", "steelyard.evidence.apart"]
    done = subprocess.run(command, input=pickle.dumps((target, arguments)), capture_output=True, check=False)
    if done.returncode:
        ended = f"status {done.returncode}"
        if done.returncode < 0:
            ended = signal.Signals(-done.returncode).name
        raise EvidenceError(
            f"what is sealed cannot be read: the process that read it ended with {ended}, as it does over a damaged "
            "file: steelyard audit verify says which"
        )
    result, error = pickle.loads(done.stdout)
    if error is not None:
        raise error
    return result


def main() -> None:
    """Takes the call from the standard input, and gives what came of it to the standard output."""
    target, arguments = pickle.load(sys.stdin.buffer)
    module, _, function = target.partition(":")
    result = error = None
    try:
        result = getattr(importlib.import_module(module), function)(*arguments)
    except SteelyardError as raised:
        error = raised
    except Exception as raised:
        told = f"{type(raised).__name__}: {raised}"[:_MAX_TOLD_CHARS]
        what = f"what is sealed cannot be read ({told}): steelyard audit verify says where it is damaged"
        error = EvidenceError(what)
    pickle.dump((result, error), sys.stdout.buffer)


if __name__ == "__main__":
    main()
