"""What the request path counts with, be it the native segment or its plain twin."""

from typing import Any, Protocol


class Slot(Protocol):
    """Where the requests of one model and version are counted.

    One writer: only the thread of the worker's event loop may call these. At every quiet moment
    received = answered + refused + failed + cancelled + lost + in flight.
    """

    @property
    def index(self) -> int:
        """The slot's place in the segment, by which `SegmentReader.slot` reads it."""
        ...

    def received(self, n: int = 1) -> None:
        """Counts requests that came in for this model."""
        ...

    def refused(self, reason: int) -> None:
        """Counts one request turned away; `reason` is a `Refusal`. Raises ValueError outside 0..15."""
        ...

    def failed(self, total_ns: int = 0) -> None:
        """Counts one request whose execution failed, `total_ns` after it came in."""
        ...

    def cancelled(self) -> None:
        """Counts one request whose caller went away."""
        ...

    def set_gauges(self, in_flight: int, queue_depth: int, queue_bytes: int) -> None:
        """Says how many requests are inside, how many of them wait, and with how many bytes."""
        ...

    def record_batch(
        self,
        tickets: list[Any],
        rows: int,
        taken_ns: int,
        assembled_ns: int,
        executed_ns: int,
        encoded_ns: int,
        unix_ms: int,
    ) -> None:
        """Counts one executed batch: `tickets` are the requests answered, each once in all six stages.

        Assemble, execute and encode are the batch's, the same for each of its requests. Times are monotonic
        ns, but `unix_ms`. Raises TypeError, and counts nothing, where an item is no `Ticket` of its module.
        """
        ...


class Segment(Protocol):
    """A worker's segment, attached for writing."""

    @property
    def unknown(self) -> Slot:
        """The slot of requests that named no model we know."""
        ...

    def slot(self, model: str, version: str) -> Slot:
        """The slot of a model's version, or the one named `_other` where there is none left for it."""
        ...
