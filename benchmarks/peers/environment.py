"""A peer's own environment: a venv that pip fills once, and again where what it is installed from has changed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.peer import Peer

INSTALL_TIMEOUT_S = 1200
# What an error says last is what went wrong.
SAID_CHARS = 400


class NotInstalled(Exception):
    """A peer that cannot be had here, and why."""


def python_of(peer: Peer, directory: Path) -> Path:
    """The interpreter of the peer's environment under `directory`, which is made where it is not there.

    Raises NotInstalled with what pip said.
    """
    if not peer.requirements:
        return Path(sys.executable)
    home = (directory / peer.name).absolute()
    done = home / "installed.json"
    wanted = json.dumps(list(peer.requirements))
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        try:
            interpreter = peer.interpreter()
        except RuntimeError as error:
            raise NotInstalled(str(error)) from None
        _run([interpreter, "-m", "venv", str(home)])
        _run([str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--no-input", *peer.requirements])
        done.write_text(wanted)
    return home / "bin" / "python"


def _run(command: list[str]) -> None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{command[-1]} took more than {INSTALL_TIMEOUT_S} s") from None
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if "WARNING" not in line]
        raise NotInstalled("; ".join(said)[-SAID_CHARS:])
