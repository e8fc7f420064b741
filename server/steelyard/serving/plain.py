"""The request path of `steelyard._native.path` in plain Python: its twin, and its oracle in tests."""

from collections.abc import Callable, Mapping, Sized
from typing import TYPE_CHECKING, Any

from steelyard._native.path import EngineCall, UnaryCall
from steelyard.rpc.calls import Event, Method
from steelyard.rpc.happening import Happening
from steelyard.scheduling.ticket import DONE, Ticket
from steelyard.serving.call import Metadata
from steelyard.wire import InferRequest

if TYPE_CHECKING:
    from steelyard.serving.admission import Admission
    from steelyard.serving.inbox import Arrival

Left = tuple[Ticket, Any, Any, str]


def begin(
    events: list[Event], connection: Any, answer: Any, method: Method, now_ns: int, others: list[Event]
) -> "tuple[list[Arrival], int]":
    """See the native twin."""
    arrivals: list[Arrival] = []
    for event in events:
        happening, rpc, body, compressed = event
        if happening is Happening.REQUEST and rpc.method is method and not compressed:
            rpc.owner = call = UnaryCall(connection, rpc, answer)
            arrivals.append((call, body, now_ns))
        else:
            others.append(event)
    return arrivals, sum(len(body) for _, body, _ in arrivals)


class Intake:
    """See the native twin."""

    def __init__(
        self,
        others: "Admission",
        routes: Mapping[str, Mapping[str, Any]],
        suspects: Sized,
        now_ns: Callable[[], int],
    ) -> None:
        self._others = others

    def take(self, arrivals: "list[Arrival]") -> None:
        """See the native twin: every request by itself."""
        for call, body, received_ns in arrivals:
            self._others.admit(call, body, received_ns)


def any_outputs_asked(requests: list[InferRequest]) -> bool:
    """See the native twin."""
    return any(request.outputs for request in requests)


def answer_all(
    tickets: list[Ticket],
    outcomes: list[Any],
    decision_ids: list[str],
    trailing: Metadata,
    max_answer_bytes: int,
    left: list[Left],
) -> tuple[list[Ticket], int]:
    """See the native twin."""
    if not len(tickets) == len(outcomes) == len(decision_ids):
        raise ValueError(
            f"expected {len(tickets)} outcomes and decision ids, came {len(outcomes)} and {len(decision_ids)}"
        )
    answered: list[Ticket] = []
    for ticket, outcome, decision_id in zip(tickets, outcomes, decision_ids, strict=True):
        call = ticket.call
        ticket.state = DONE
        call.place = None
        plain = type(outcome) is bytes and len(outcome) <= max_answer_bytes
        if not plain or not isinstance(call, EngineCall) or call.cancelled or call.arm is not None:
            left.append((ticket, call, outcome, decision_id))
            continue
        problem: str | Exception | None
        try:
            problem = call.answer(outcome, decision_id, trailing)  # type: ignore[attr-defined]
        except Exception as error:  # whatever went wrong with one is nothing to the others
            problem = error
        if problem is not None:
            left.append((ticket, call, problem, decision_id))
            continue
        answered.append(ticket)
    return answered, sum(ticket.rows for ticket in answered)
