"""A batch, run: fill, execute, split and encode; and where it fails, taken apart until only the culprit fails."""

import time
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from steelyard._native.decision import new_ids
from steelyard._native.path import any_outputs_asked
from steelyard.errors import ExecutionFailed, InvalidRequest, SteelyardError
from steelyard.pipelines.answers import parameters
from steelyard.runtime.runner import Array, Runner
from steelyard.runtime.session import execution_error
from steelyard.scheduling.lane import Batch
from steelyard.scheduling.ticket import Ticket
from steelyard.serving.answering import Named, answer_tensors
from steelyard.serving.version import ServedVersion
from steelyard.wire import InferRequest, encode_bytes_tensor, encode_response

now_ns = time.monotonic_ns


class Job:
    """One batch on its way through execution: what it was given, what came of it, and when.

    `outcomes` stands in the order of the batch's tickets: an encoded answer, or the error that ticket gets. `places`
    are those of a batch whose rows may differ in length, `padding` included. `recorded` are the decision ids of answers
    that were recorded before their callers are told.
    """

    __slots__ = (
        "assembled_ns",
        "batch",
        "decision_ids",
        "encoded_ns",
        "executed_ns",
        "failed",
        "outcomes",
        "padding",
        "places",
        "recorded",
        "runs",
        "tally",
        "version",
    )

    def __init__(self, batch: Batch, version: ServedVersion) -> None:
        self.batch = batch
        self.version = version
        self.decision_ids: list[str] = []
        self.outcomes: list[bytes | SteelyardError] = []
        self.assembled_ns = self.executed_ns = self.encoded_ns = 0
        self.runs = 0
        self.places = self.padding = 0
        self.failed = False
        self.recorded: frozenset[str] = frozenset()
        self.tally = None if version.pipeline is None else version.pipeline.tally()

    def ids_of(self, tickets: list[Ticket]) -> list[str]:
        """The decision ids of some of the batch's tickets."""
        ids = dict(zip(map(id, self.batch.tickets), self.decision_ids, strict=True))
        return [ids[id(ticket)] for ticket in tickets]

    def take_out(self, decision_ids: Container[str]) -> list[tuple[Ticket, str]]:
        """Takes tickets out of a batch that has run, with their outcomes; gives them with their decision ids."""
        rows = list(zip(self.batch.tickets, self.outcomes, self.decision_ids, strict=True))
        stay = [row for row in rows if row[2] not in decision_ids]
        self.batch.tickets = [ticket for ticket, _, _ in stay]
        self.outcomes = [outcome for _, outcome, _ in stay]
        self.decision_ids = [decision_id for _, _, decision_id in stay]
        return [(ticket, decision_id) for ticket, _, decision_id in rows if decision_id in decision_ids]


def execute(job: Job) -> None:
    """Runs a job to its end, on whatever thread calls it. Raises nothing: errors are outcomes."""
    batch, version = job.batch, job.version
    # The way to an executor thread is part of the wait, not of the work.
    batch.taken_ns = now_ns()
    tickets = batch.tickets
    job.decision_ids = new_ids(len(tickets), time.time_ns() // 1_000_000)
    if version.in_canary:
        keep_ids(job)
    runner: Runner | None = None
    try:
        runner = version.borrow_runner()
        job.outcomes = run(job, runner, tickets, job.decision_ids)
    except Exception as error:  # whatever the runtime raises is this batch's failure, not the server's
        job.failed = True
        job.assembled_ns = job.assembled_ns or now_ns()
        if runner is None:
            job.outcomes = [failure(version, error) for _ in tickets]
        else:
            job.outcomes = take_apart(job, runner, tickets, job.decision_ids, error)
        job.executed_ns = now_ns()
    if runner is not None:
        version.return_runner(runner)
    job.encoded_ns = now_ns()


def keep_ids(job: Job) -> None:
    """Calls of a canary may have got their decision ids before, since these chose the version."""
    for place, ticket in enumerate(job.batch.tickets):
        if ticket.call is not None and ticket.call.decision_id:
            job.decision_ids[place] = ticket.call.decision_id


def run(
    job: Job, runner: Runner, tickets: list[Ticket], ids: list[str], plainly: bool = False
) -> list[bytes | SteelyardError]:
    """The answers of tickets that are run together; `plainly`: into no bound outputs. Raises whatever fails."""
    version = job.version
    requests: list[Any] = [ticket.request for ticket in tickets]
    counts = [ticket.rows for ticket in tickets]
    rows = sum(counts)
    job.runs += 1
    if not rows and version.pipeline is not None and requests[0].kept is not None:
        job.assembled_ns = job.executed_ns = now_ns()
        return encode(version, requests, counts, ids, version.pipeline.nothing())
    lengths = None if version.ragged is None else measure_lengths(job, tickets)
    shape, arrays = runner.fill(requests, rows, tickets[0].key, max(lengths) if lengths else 0)
    if job.runs == 1:
        job.assembled_ns = now_ns()
    outputs = runner.run(None if plainly else shape, arrays, rows)
    if job.runs == 1:
        job.executed_ns = now_ns()
    if version.pipeline is not None:
        assert job.tally is not None
        version.pipeline.count_fill(runner.filled_ns, job.tally)
        outputs = version.pipeline.finish(outputs, rows, arrays, job.tally, requests)
    return encode(version, requests, counts, ids, outputs, lengths)


def measure_lengths(job: Job, tickets: list[Ticket]) -> list[int] | None:
    """The lengths of the tickets' rows, where they differ; counts what is padded in the job's first run."""
    lengths = [ticket.length for ticket in tickets]
    longest = max(lengths)
    if job.runs == 1:
        job.places = longest * sum(ticket.rows for ticket in tickets)
        job.padding = job.places - sum(ticket.rows * ticket.length for ticket in tickets)
    return None if min(lengths) == longest else lengths


def take_apart(
    job: Job, runner: Runner, tickets: list[Ticket], ids: list[str], error: Exception
) -> list[bytes | SteelyardError]:
    """The outcomes of tickets whose run together failed with `error`: each half is run by itself, and so on.

    Takes at most 2·log2(n) runs for each culprit among n tickets, and one more to learn whose fault it was.
    """
    if len(tickets) == 1:
        return run_plainly(job, runner, tickets, ids, error)
    middle = len(tickets) // 2
    outcomes: list[bytes | SteelyardError] = []
    for part in (slice(0, middle), slice(middle, None)):
        some, some_ids = tickets[part], ids[part]
        try:
            outcomes += run(job, runner, some, some_ids)
        except Exception as part_error:  # as in execute
            outcomes += take_apart(job, runner, some, some_ids, part_error)
    return outcomes


def run_plainly(
    job: Job, runner: Runner, tickets: list[Ticket], ids: list[str], error: Exception
) -> list[bytes | SteelyardError]:
    """The outcome of the only ticket, whose run by itself failed with `error`.

    A run into bound outputs also fails where the graph states an output's shape wrongly, and does not say whether the
    input was to blame: a plain one does.
    """
    if not runner.may_bind or isinstance(error, SteelyardError):
        return [failure(job.version, error)]
    try:
        outcomes = run(job, runner, tickets, ids, plainly=True)
    except Exception as plain_error:  # as in execute
        return [failure(job.version, plain_error)]
    runner.may_bind = job.version.bindable = False
    return outcomes


def failure(version: ServedVersion, error: Exception) -> SteelyardError:
    """What the caller of a request that failed by itself is told."""
    where = f"model {version.model!r} version {version.number}"
    if isinstance(error, InvalidRequest):
        return InvalidRequest(f"{where}: {error}")
    if isinstance(error, SteelyardError):
        return ExecutionFailed(f"{where} failed in execution: {error}")
    blamed, reason = execution_error(error)
    if blamed:
        return InvalidRequest(f"{where} refused the input in execution: {reason}")
    return ExecutionFailed(f"{where} failed in execution: {reason}")


def encode(
    version: ServedVersion,
    requests: list[Any],
    rows: list[int],
    ids: list[str],
    outputs: list[Array],
    lengths: list[int] | None = None,
) -> list[bytes | SteelyardError]:
    """One answer a request from the outputs of all of them, which are those that callers get.

    lengths: of the requests' rows, where these were padded.
    """
    ragged = version.ragged if lengths else None
    if ragged is not None and not any(axis is not None for axis in ragged.cuts):
        ragged = None
    pipeline = version.pipeline
    prepared = requests
    if pipeline is not None:
        requests = [one.request for one in prepared]
    batched = version.spec.batched and version.batching.allowed
    plain = version.plain_outputs and (
        not any_outputs_asked(requests) or not any(wants_classes(request) for request in requests)
    )
    if plain and ragged is None and (pipeline is None or not any(one.flagged for one in prepared)):
        shapes = [output.shape[1:] if batched else output.shape for output in outputs]
        return list(version.encoder.encode_batch(requests, rows, ids, outputs, shapes, batched))
    answers: list[bytes | SteelyardError] = []
    start = 0
    for place, (one, request, count, decision_id) in enumerate(
        zip(prepared, requests, rows, ids, strict=True)
    ):
        own = [output[start : start + count] for output in outputs] if batched else outputs
        start += count
        if ragged is not None and lengths is not None:
            own = [ragged.cut(at, output, lengths[place]) for at, output in enumerate(own)]
        tensors = answer_tensors(version.offered, request, None if pipeline is None else one, own)
        said = {} if pipeline is None else parameters(one.marked, one.flagged)
        answers.append(encode_generally(version, request, decision_id, tensors, said))
    return answers


def wants_classes(request: InferRequest) -> bool:
    """Whether the caller wants classes in the place of an output's numbers."""
    outputs = request.outputs
    return bool(outputs) and any("classification" in output.parameters for output in outputs)


def encode_generally(
    version: ServedVersion,
    request: InferRequest,
    decision_id: str,
    tensors: list[Named],
    said: Mapping[str, bool | int | str | float],
) -> bytes:
    """An answer of any tensors, and with what is `said` in its parameters."""
    encoded = [(name, datatype, array.shape, _raw(datatype, array)) for name, datatype, array in tensors]
    parameters: dict[str, bool | int | str | float] = {
        "steelyard_decision_id": decision_id,
        "steelyard_model_digest": version.digest,
        **version.notices,
        **said,
    }
    return encode_response(version.model, str(version.number), request.id, parameters, encoded)


def _raw(datatype: str, array: Array) -> bytes:
    if datatype == "BYTES":
        return encode_bytes_tensor(array.ravel().tolist())
    return np.ascontiguousarray(array).tobytes()
