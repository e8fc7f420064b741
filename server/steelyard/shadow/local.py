"""A candidate in this process: loaded as a server loads it, and run in batches as the engine runs them."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steelyard._native.observe import Segment
from steelyard.errors import ExecutionFailed, SteelyardError
from steelyard.models.manifest import ModelManifest
from steelyard.models.spec import ModelSpec
from steelyard.observe.segment_file import create_segment
from steelyard.rollout.frames import Asked
from steelyard.runtime.runner import Array, Runner, Shape
from steelyard.scheduling.lane import Batch
from steelyard.scheduling.ticket import Ticket
from steelyard.serving.entering import enter
from steelyard.serving.execution import Job, execute, now_ns
from steelyard.serving.fit import fit
from steelyard.serving.loading import Environment, LoadedVersion, load_version
from steelyard.serving.preparing import prepare_request
from steelyard.serving.verdicts import Verdicts
from steelyard.serving.version import ServedVersion
from steelyard.shadow.candidate import Outcome, Ran
from steelyard.wire import decode_request
from steelyard.wire.status import message_of, status_of

# A long time of small batches must not be saved up for one in which large ones are all filled.
_MOST_SPARE_ROWS = 1024


class TimedRunner(Runner):
    """Also says what the processor spent on the last run.

    A candidate runs only where nobody else wants the processor: the time that passes would say how busy the machine is.
    """

    run_cpu_ns = 0

    def run(self, shape: Shape | None, arrays: list[Array], rows: int) -> list[Array]:
        began_ns = time.thread_time_ns()
        try:
            return super().run(shape, arrays, rows)
        finally:
            self.run_cpu_ns = time.thread_time_ns() - began_ns


class LocalCandidate:
    """A version's directory, loaded; used by one thread."""

    def __init__(
        self,
        name: str,
        number: int,
        path: Path,
        manifest: ModelManifest,
        threads: int = 1,
        profile: str = "dev",
        verdicts: Path | None = None,
        signers: Path | None = None,
    ) -> None:
        """Raises a `SteelyardError` that says why the version cannot be served."""
        environment = Environment(threads, profile, Verdicts(verdicts), signers=signers)
        loaded = load_version(name, path, manifest, environment)
        self._version = _served(name, number, path, manifest, loaded)
        version = self._version
        self._runner = TimedRunner(
            version.session,
            version.spec,
            version.lane.limit_rows,
            version.batching.allowed,
            version.pipeline is not None,
        )
        self._runner.may_bind = self._runner.may_bind and version.bindable
        # This runner is timed, and stages nothing: buffers for others would only take a device's memory.
        version.staging = None
        # There is one thread: it borrows this one each time.
        version.return_runner(self._runner)
        self._spare_rows = 0
        # On other devices, and where a run has threads of its own, this thread's time is not the run's.
        self._by_cpu = loaded.device == "cpu" and loaded.policy.threads == 1

    @property
    def digest(self) -> str:
        return self._version.digest

    @property
    def offered(self) -> ModelSpec:
        """What it takes and gives."""
        return self._version.offered

    def most_together(self, body: bytes) -> int:
        """How many requests like this one a batch may hold; 1 for one that does not fit."""
        if not self._version.batching.allowed:
            return 1
        try:
            rows, _, _ = fit(self._version, decode_request(body))
        except SteelyardError:
            return 1
        return max(1, self._version.lane.limit_rows // max(1, rows))

    def run(self, asked: Sequence[Asked], rows: int = 0) -> Ran:
        """Runs what has the same key together; a request that does not fit, or cannot be prepared, has failed alone.

        Where the primary's batch had more `rows`, now and then the batch is filled up with the same requests again, so
        that times can be compared that are of the same size: at most as many rows are run again as were sampled.
        """
        outcomes: list[Outcome | None] = [None] * len(asked)
        groups: dict[object, list[tuple[int, Ticket]]] = {}
        together = self._version.batching.allowed
        for place, one in enumerate(asked):
            try:
                ticket = self._ticket(one.body)
            except SteelyardError as error:
                outcomes[place] = _failed(error)
            except (
                Exception
            ) as error:  # a fault of a step's, which is this request's failure and nobody else's
                outcomes[place] = _failed(ExecutionFailed(f"{type(error).__name__}: {error}"))
            else:
                groups.setdefault(ticket.key if together else place, []).append((place, ticket))
        execute_ns = ran_rows = 0
        for group in groups.values():
            tickets = [ticket for _, ticket in group]
            whole = len(group) == len(asked)
            if whole and together:
                tickets += self._filling(tickets, rows)
            took_ns = self._run(tickets, [place for place, _ in group], outcomes)
            if whole:
                execute_ns, ran_rows = took_ns, sum(ticket.rows for ticket in tickets)
        return Ran([outcome for outcome in outcomes if outcome is not None], execute_ns, ran_rows)

    def close(self) -> None:
        self._version.release()

    def _ticket(self, body: bytes) -> Ticket:
        version = self._version
        request: Any = decode_request(body)
        rows, key, direct = fit(version, request)
        if version.pipeline is not None:
            request = prepare_request(version, request, rows, version.pipeline.tally(), direct)
            rows, key = request.rows, request.key
        return Ticket(None, request, rows, key, now_ns(), 0)

    def _filling(self, tickets: list[Ticket], rows: int) -> list[Ticket]:
        """The same tickets again until there are `rows` rows; none where that is not to be had, or not yet."""
        own_rows = sum(ticket.rows for ticket in tickets)
        self._spare_rows = min(self._spare_rows + own_rows, _MOST_SPARE_ROWS)
        missing = rows - own_rows
        if not 0 < missing <= self._spare_rows:
            return []
        filling: list[Ticket] = []
        # Each round takes at least one, or ends: requests of one row fit to the last.
        while fitting := [ticket for ticket in tickets if 0 < ticket.rows <= missing]:
            for ticket in fitting:
                if ticket.rows <= missing:
                    filling.append(ticket)
                    missing -= ticket.rows
        if missing:
            return []
        self._spare_rows -= rows - own_rows
        return filling

    def _run(self, tickets: list[Ticket], places: list[int], outcomes: list[Outcome | None]) -> int:
        """Runs a batch and writes what came of it; gives what the run took in ns, 0 where it was taken apart."""
        batch = Batch(self._version.lane, tickets, sum(ticket.rows for ticket in tickets), 0)
        job = Job(batch, self._version)
        execute(job)
        # What fills the batch stands last.
        for place, outcome in zip(places, job.outcomes, strict=False):
            outcomes[place] = Outcome(outcome) if isinstance(outcome, bytes) else _failed(outcome)
        if job.runs != 1 or job.failed:
            return 0
        return self._runner.run_cpu_ns if self._by_cpu else job.executed_ns - job.assembled_ns


def _failed(error: SteelyardError) -> Outcome:
    return Outcome(error=message_of(error), status=int(status_of(error)))


def _served(
    name: str, number: int, path: Path, manifest: ModelManifest, loaded: LoadedVersion
) -> ServedVersion:
    # Counts have to go somewhere: nobody reads this one.
    descriptor = create_segment("shadow")
    try:
        slot = Segment(descriptor, os.getpid(), time.time_ns()).slot(name, str(number))
    finally:
        os.close(descriptor)
    return enter(name, number, path, manifest, loaded, slot, 0)
