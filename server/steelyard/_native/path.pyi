"""The request path as far as requests go the usual way, many at a time. Twin: `steelyard.serving.plain`."""

from collections.abc import Mapping, Sized
from typing import Any, final

from steelyard._native.observe import Ticket
from steelyard._native.rpc import ServerCall
from steelyard._native.wire import InferRequest
from steelyard.errors import SteelyardError

Metadata = tuple[tuple[str, str], ...]

class EngineCall:
    """What the engine keeps of a call; see `serving.call.Call`. A new one has no deadline and no place."""

    deadline_ns: int
    cancelled: bool
    place: Any
    arm: Any
    decision_id: str

    @property
    def traceparent(self) -> bytes: ...

class UnaryCall(EngineCall):
    """A ModelInfer call of the http2 front."""

    def __init__(self, connection: Any, rpc: ServerCall, answer: Any = None) -> None:
        """answer: takes an answer as it is, and returns what `connection.answer` does; None: the connection has its own
        way with each."""

    @property
    def connection(self) -> Any: ...
    @property
    def rpc(self) -> ServerCall: ...
    @property
    def peer(self) -> str: ...
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]: ...
    def answer(self, body: bytes, decision_id: str, trailing: Metadata) -> str | None: ...
    def fail(self, error: SteelyardError, decision_id: str, trailing: Metadata) -> None: ...
    def gone(self) -> None:
        """The caller is gone."""

def begin(
    events: list[Any], connection: Any, answer: Any, method: Any, now_ns: int, others: list[Any]
) -> tuple[list[tuple[UnaryCall, bytes, int]], int]:
    """Arrivals of the events that are plain requests of `method`, as the inbox takes them, and the bytes of their
    bodies in all; other events are put into `others`."""

@final
class Intake:
    """Queues arrivals: those that go the usual way with all others of their kind, each other one by itself."""

    def __init__(
        self, others: Any, routes: Mapping[str, Mapping[str, Any]], suspects: Sized, now_ns: Any
    ) -> None:
        """
        others: the `Admission`.
        routes: model and version as callers name them to the version.
        suspects: while there are any, nobody goes the usual way.
        """

    def take(
        self, arrivals: list[tuple[Any, bytes, int]]
    ) -> tuple[Any, list[Ticket], int, tuple[int, ...], int] | None:
        """Takes calls with their bodies and when they came, in order.

        Returns the last that have all gone the usual way and are not queued yet: their version, tickets, rows, key, and
        the earliest of their deadlines.
        """

def let_go(tickets: list[Ticket]) -> None:
    """Lets go of the calls and requests of tickets."""

def any_outputs_asked(requests: list[InferRequest]) -> bool:
    """Whether any of the requests names the outputs that it wants."""

def answer_all(
    tickets: list[Ticket],
    outcomes: list[Any],
    decision_ids: list[str],
    trailing: Metadata,
    max_answer_bytes: int,
    left: list[tuple[Ticket, Any, Any, str]],
) -> tuple[list[Ticket], int]:
    """Answers the calls of tickets that have run, where their outcomes are answers to be given as they are.

    Returns the tickets that were answered, and their rows. What is `left` to others is put there: ticket, call, outcome
    and decision id. The outcome of one that could not be answered is the error that kept it from that, and of one that
    found no room the text that its caller was told, as `Call.answer` has it. Raises
    ValueError, and has told nobody, where there are not as many outcomes and ids as tickets.
    """
