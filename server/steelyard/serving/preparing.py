"""Preparing requests on threads: a lane of its own before the version's, and what is done with what comes out."""

import logging
from dataclasses import dataclass, replace

from steelyard._native.observe import Slot
from steelyard.errors import ExecutionFailed, InvalidRequest, SteelyardError
from steelyard.observe.logs import log
from steelyard.pipelines.plan import PreparedRequest
from steelyard.pipelines.problems import ACTIONS, RULES
from steelyard.pipelines.tally import Tally
from steelyard.scheduling.cost import CostModel
from steelyard.scheduling.lane import Batch, Lane
from steelyard.serving.classification import check_classes
from steelyard.serving.execution import now_ns
from steelyard.serving.loading import LoadedVersion
from steelyard.serving.version import ServedVersion
from steelyard.wire.types import InferRequest


@dataclass(frozen=True, slots=True)
class Direct:
    """A request that waits to be prepared and holds the model's own tensors, not what the version offers."""

    request: InferRequest


class Preparing:
    """One request on its way through its pipeline; `outcome` is what came of it."""

    __slots__ = ("batch", "began_ns", "done_ns", "outcome", "tally", "version")

    def __init__(self, batch: Batch, version: ServedVersion) -> None:
        self.batch = batch
        self.version = version
        assert version.pipeline is not None
        self.tally = version.pipeline.tally()
        self.began_ns = self.done_ns = 0
        self.outcome: PreparedRequest | SteelyardError | None = None


def prepare_request(
    version: ServedVersion, request: InferRequest, rows: int, tally: Tally, direct: bool = False
) -> PreparedRequest:
    """The model's inputs for `request`. Raises `InvalidRequest` that names the model and every bad row.

    direct: whether the request holds the model's own tensors, not what the version offers.
    """
    pipeline = version.pipeline
    assert pipeline is not None
    try:
        prepared = (pipeline.pass_on if direct else pipeline.prepare)(request, rows, tally)
    except InvalidRequest as error:
        raise InvalidRequest(f"model {version.model!r} version {version.number}: {error}") from None
    if request.outputs and prepared.asked_rows != rows:
        # A table has more rows than the tensor that holds it.
        check_classes(request, f"model {version.model!r}", version.offered, prepared.asked_rows)
    return prepared


def prepare(job: Preparing) -> None:
    """Prepares the job's request, on whatever thread calls it. Raises nothing: errors are outcomes."""
    version = job.version
    (ticket,) = job.batch.tickets
    job.began_ns = now_ns()
    try:
        request, direct = ticket.request, isinstance(ticket.request, Direct)
        job.outcome = prepare_request(
            version, request.request if direct else request, ticket.rows, job.tally, direct
        )
    except SteelyardError as error:
        job.outcome = error
    except Exception as error:  # a fault of ours, which must not end the thread
        log(
            "prepare.fault",
            level=logging.ERROR,
            model=version.model,
            version=version.number,
            exception=repr(error),
        )
        job.outcome = ExecutionFailed("the server failed on this request")
    job.done_ns = now_ns()


def count_steps(slot: Slot, tally: Tally) -> None:
    """Counts what happened in a pipeline; on the event loop, which alone may write there."""
    slot.record_steps(tally.ns, tally.runs, tally.errors)
    for (rule, action), times in tally.rules.items():
        slot.record_rule(RULES.index(rule), ACTIONS.index(action), times)


def prepare_lane(name: str, loaded: LoadedVersion, lane: Lane, threads: int) -> Lane | None:
    """The lane in which a version's requests wait to be prepared for `lane`, one at a time on each of `threads`.

    It has the bounds of the version's own queue: requests are counted there as they came, and in the version's lane as
    what they have become. None where there is no pipeline.
    """
    if loaded.pipeline is None:
        return None
    policy = replace(
        loaded.policy,
        max_batch=1,
        max_queue_delay_ns=0,
        preferred=(),
        instances=threads,
        threads=1,
        prepares=True,
    )
    made = Lane(name, policy, CostModel())
    made.feeds = lane
    return made
