"""What /proc says of a process, whatever its name and however gone it is."""

import os
import subprocess
import sys

import psutil

from steelyard.observe.process import process_use


def test_this_process_uses_what_psutil_says() -> None:
    use, known = process_use(os.getpid()), psutil.Process()
    assert use is not None
    assert use.threads == known.num_threads()
    assert 0.5 < use.resident_bytes / known.memory_info().rss < 2
    assert use.open_fds >= 3
    assert use.cpu_seconds > 0


def test_a_process_that_is_gone_uses_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert process_use(child.pid) is None


def test_a_command_named_to_mislead_is_read_past() -> None:
    program = (
        "import os, sys; from pathlib import Path; from steelyard.observe.process import process_use\n"
        "Path('/proc/self/comm').write_text('a) R 9 9 (')\n"
        "print(process_use(os.getpid()).threads)\n"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "1"
