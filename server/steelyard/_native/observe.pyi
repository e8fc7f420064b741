"""The worker's side of its shared segment. Twin: `steelyard.observe.plain`."""

from typing import Any, final

@final
class Ticket:
    """One request on its way through the server; times are monotonic ns, 0 in `deadline_ns` means none.

    `decode_ns` is a duration: whatever else passes between `received_ns` and the run is time in the queue. `length` is
    that of its rows where a version's rows differ in it, else 0.
    """

    call: Any
    request: Any
    key: Any
    rows: int
    received_ns: int
    decode_ns: int
    deadline_ns: int
    size_bytes: int
    priority: int
    length: int
    state: int
    def __init__(
        self,
        call: object,
        request: object,
        rows: int,
        key: object,
        received_ns: int,
        decode_ns: int,
        deadline_ns: int = 0,
        priority: int = 0,
        size_bytes: int = 0,
    ) -> None: ...

@final
class Slot:
    """Where the requests of one model and version are counted. Made by `Segment.slot`.

    One writer: only the thread of the worker's event loop may call these.
    """

    @property
    def index(self) -> int:
        """The slot's place in the segment."""

    def received(self, n: int = 1) -> None:
        """Counts requests that came in for this model."""

    def refused(self, reason: int) -> None:
        """Counts one request turned away; `reason` is a `Refusal`. Raises ValueError outside 0..15."""

    def failed(self, total_ns: int = 0) -> None:
        """Counts one request whose execution failed, `total_ns` after it came in."""

    def cancelled(self) -> None:
        """Counts one request whose caller went away."""

    def set_gauges(self, in_flight: int, queue_depth: int, queue_bytes: int) -> None:
        """Says how many requests are inside, how many of them wait, and with how many bytes."""

    def name_steps(self, names: list[str]) -> None:
        """Says which steps a version's pipeline has, before they are recorded; counts of others begin at nought.

        Of more than 32 the last ones are counted together. The slot `_other`, which versions share, has no steps.
        """

    def record_steps(self, ns: list[int], runs: list[int], errors: list[int]) -> None:
        """Adds what each step took, how often it ran and how many errors it met, in the order of their names."""

    def record_rule(self, rule: int, action: int, times: int = 1) -> None:
        """Counts how often a rule was broken, by what was done: places in `layout.RULES` and `layout.ACTIONS`."""

    def examined(self, passed: int, failed: int, unix_ms: int) -> None:
        """Counts golden examples that were run, the last of them at `unix_ms`."""

    def padded(self, places: int, padding: int) -> None:
        """Counts the places of a batch whose rows differ in length, and how many of them are padding."""

    def set_failing(self, examples: int) -> None:
        """Says how many golden examples fail as things stand."""

    def record_batch(
        self,
        tickets: list[Ticket],
        rows: int,
        taken_ns: int,
        assembled_ns: int,
        executed_ns: int,
        encoded_ns: int,
        unix_ms: int,
    ) -> None:
        """Counts one executed batch: `tickets` are the requests answered, each once in all six stages.

        Assemble, execute and encode are the batch's, the same for each of its requests. Raises TypeError, and
        counts nothing, where an item is no `Ticket`.
        """

@final
class Segment:
    """A worker's shared segment, attached for writing; what an earlier worker counted in it goes on.

    The gauges begin at zero, and the requests that the earlier worker took with it are counted as lost.
    Raises ValueError where the file is too small or no segment of this layout.
    """

    def __init__(self, fd: int, pid: int, start_unix_ns: int) -> None: ...
    @property
    def memory(self) -> memoryview:
        """All of the segment, to be written to."""
    @property
    def unknown(self) -> Slot:
        """The slot of requests that named no model we know."""

    def slot(self, model: str, version: str) -> Slot:
        """The slot of a model's version, the same one as before where these labels were here already.

        Where all slots are taken, or a label is too long to be a directory's name, it is the slot `_other`.
        """

def bucket_of(ns: int) -> int:
    """The index of the bucket that a duration falls into."""
