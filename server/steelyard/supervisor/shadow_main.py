"""A shadow's process: a candidate, run and compared. Run as `python -m steelyard.supervisor.shadow_main FD FD`."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

from steelyard.errors import SteelyardError
from steelyard.evidence.masking import Masks
from steelyard.evidence.payload_files import SHADOW_ORIGIN
from steelyard.observe.logs import configure_logs, log
from steelyard.rollout.comparison import compile_rules
from steelyard.rollout.disagreements import Disagreements
from steelyard.rollout.frames import listen
from steelyard.rollout.signature import check_fit
from steelyard.shadow.account import Account
from steelyard.shadow.calibration import Calibration
from steelyard.shadow.candidate import Candidate
from steelyard.shadow.keeping import PayloadKeeping
from steelyard.shadow.local import LocalCandidate
from steelyard.shadow.process import ShadowWork
from steelyard.shadow.processor import be_idle, resident_bytes
from steelyard.shadow.remote import RemoteCandidate
from steelyard.shadow.running import RunningUnit
from steelyard.shadow.task import LocalTarget, ShadowTask
from steelyard.supervisor.channel import EXIT_REFUSED, EXIT_SHADOW_HUNG, EXIT_SHADOW_LEAKED, Channel

# What is lost where the process dies is what it counted since it last said so.
CHECKPOINT_EVERY_S = 0.5

# How often the watchdog looks.
_LOOK_EVERY_S = 0.1

# A worker may keep a little more than the budget waiting, never more than the largest request and answer in one unit.
_HEADERS_BYTES = 8 << 20


def load(task: ShadowTask) -> Candidate:
    """The candidate, ready to run. Raises a `SteelyardError` that says why it cannot be."""
    target = task.candidate
    if not isinstance(target, LocalTarget):
        elsewhere = RemoteCandidate(target, task.manifest.rollout.shadow.timeout_s, task.max_message_bytes)
        offered = elsewhere.offered(task.offered.batched)
        if offered is not None:
            check_fit(task.offered, offered)
        return elsewhere
    candidate = LocalCandidate(
        task.model,
        target.number,
        target.path,
        task.manifest,
        target.threads,
        task.profile,
        task.verdicts,
        task.signers,
    )
    check_fit(task.offered, candidate.offered)
    return candidate


async def serve(control: socket.socket, running_fd: int) -> int:
    """Works until the supervisor says stop or is gone; returns the exit status."""
    channel = await Channel.open(control)
    first = await channel.receive()
    if first is None:
        return 0
    task = ShadowTask.model_validate_json(first["task"])
    configure_logs(f"{SHADOW_ORIGIN}{task.rollout}", task.log_level, task.log_format)  # type: ignore[arg-type]
    rollout = task.manifest.rollout
    stopped = asyncio.ensure_future(_until_told(channel))
    try:
        comparison = compile_rules(rollout.compare, task.offered.outputs, task.tolerances)
        account = Account(
            task.rollout, rollout.gate.guardrail, task.offered.outputs, comparison, task.checkpoint
        )
        # Loading may take minutes, and cannot be broken off: the process ends all the same when it is told to.
        loading = asyncio.ensure_future(asyncio.to_thread(load, task))
        await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            return 0
        candidate = loading.result()
        calibration = None
        if task.calibrate:
            assert isinstance(candidate, LocalCandidate)
            calibration = Calibration(candidate, task.offered.outputs, task.checkpoint.get("calibration", {}))
        shadow = rollout.shadow
        disagreements = None
        if task.disagreements is not None and calibration is None:
            disagreements = Disagreements(task.disagreements, shadow.kept, shadow.kept_bytes)
        payloads = None
        capture = task.manifest.evidence.capture
        if task.data is not None:
            payloads = PayloadKeeping(task.data, f"{SHADOW_ORIGIN}{task.rollout}", task.model, capture)
        listener = listen(task.socket)
    except (SteelyardError, OSError) as error:
        channel.send({"refused": str(error)})
        await channel.close()
        return EXIT_REFUSED
    work = ShadowWork(
        candidate,
        comparison,
        account,
        shadow.max_bytes + _HEADERS_BYTES,
        task.offered.batched,
        calibration,
        disagreements,
        RunningUnit(running_fd),
        masks=Masks(capture.masks),
        payloads=payloads,
    )
    threading.Thread(target=work.serve, args=(listener,), name="accept", daemon=True).start()
    channel.send({"started": {"digest": candidate.digest}, "checkpoint": work.document()})
    log("shadow.started", candidate=candidate.digest, socket=str(task.socket))
    timeout_ns = int(shadow.timeout_s * 1e9) if isinstance(task.candidate, LocalTarget) else 0
    status = await _watch(channel, work, stopped, timeout_ns, shadow.max_memory)
    channel.send({"checkpoint": work.document()})
    await channel.close()
    return status


async def _watch(
    channel: Channel, work: ShadowWork, stopped: asyncio.Future[Any], timeout_ns: int, max_memory: int
) -> int:
    """Sends checkpoints and looks after the candidate; returns why it is over."""
    loop = asyncio.get_running_loop()
    said: dict[str, Any] = {}
    next_s = loop.time() + CHECKPOINT_EVERY_S
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(stopped), _LOOK_EVERY_S)
        if stopped.done():
            return 0
        if (
            timeout_ns
            and work.busy_ns() > timeout_ns
            and work.give_up(f"the candidate took longer than {timeout_ns / 1e9:g} s")
        ):
            log("shadow.hung", level=logging.ERROR, timeout_s=timeout_ns / 1e9)
            return EXIT_SHADOW_HUNG
        if max_memory and (resident := resident_bytes()) > max_memory:
            log("shadow.leaked", level=logging.ERROR, resident_bytes=resident, max_memory=max_memory)
            return EXIT_SHADOW_LEAKED
        if loop.time() >= next_s:
            next_s = loop.time() + CHECKPOINT_EVERY_S
            document = work.document()
            if document != said:
                said = document
                channel.send({"checkpoint": document})


async def _until_told(channel: Channel) -> None:
    async for message in channel:
        if message.get("stop"):
            return


def main() -> None:
    """Takes the file descriptors of the control socket and of a `RunningUnit` as arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    be_idle()
    status = asyncio.run(_serve_and_leave(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
    sys.exit(status)


async def _serve_and_leave(control: socket.socket, running_fd: int) -> int:
    status = await serve(control, running_fd)
    # Threads that hang in the candidate must not keep the process: nothing here is worth an orderly end.
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
