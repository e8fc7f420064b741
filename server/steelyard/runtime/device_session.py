"""A session on a device: the way of all runs to it, and the one thread where they are replays of graphs."""

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

import onnxruntime as ort

from steelyard.runtime.graphs import GATE, GRAPH_ID, NO_GRAPH, Gate


class _Errand:
    """A call that another thread makes."""

    __slots__ = ("call", "done", "error", "result")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call: Callable[[], Any] | None = call
        self.done = threading.Lock()
        self.done.acquire()
        self.error: BaseException | None = None
        self.result: Any = None


class OneThread:
    """A thread that makes the calls of others, in the order they came; it ends with `close`."""

    def __init__(self, name: str) -> None:
        self._errands: SimpleQueue[_Errand | None] = SimpleQueue()
        threading.Thread(target=_serve, args=(self._errands,), name=name, daemon=True).start()

    def call(self, function: Callable[[], Any]) -> Any:
        """What `function` gives there, or raises."""
        errand = _Errand(function)
        self._errands.put(errand)
        errand.done.acquire()
        if errand.error is not None:
            raise errand.error
        return errand.result

    def close(self) -> None:
        """Lets the thread end when it has done what it was asked."""
        self._errands.put(None)


def _serve(errands: "SimpleQueue[_Errand | None]") -> None:
    while (errand := errands.get()) is not None:
        assert errand.call is not None
        try:
            errand.result = errand.call()
        except BaseException as error:  # whoever asked is told
            errand.error = error
        # The session must not live on with a thread that waits.
        errand.call = None
        errand.done.release()
        del errand


def run_options(graph: int) -> ort.RunOptions:
    """What ONNX Runtime is told of a run that is to replay, or capture, graph number `graph`."""
    options = ort.RunOptions()
    options.add_run_config_entry(GRAPH_ID, str(graph))
    return options


class DeviceSession:
    """ONNX Runtime's session where that is on a device; has of its face what the server uses.

    Every run holds the process's gate. With `graphs`, all runs are made on one thread, and those that are no replays
    say so. `close`, or its end, ends the thread.
    """

    def __init__(self, open_session: Callable[[bool], ort.InferenceSession], gate: Gate = GATE) -> None:
        """open_session: opens the session, with graphs or without. Raises what that raises, without."""
        self._open = open_session
        self._session: Any = open_session(False)
        self._thread: OneThread | None = None
        self._plain = run_options(NO_GRAPH)
        self._options: dict[int, ort.RunOptions] = {}
        self.gate = gate

    @property
    def graphs(self) -> bool:
        """Whether the session can capture graphs."""
        return self._thread is not None

    def reopen(self, graphs: bool) -> None:
        """Opens the session anew, with graphs or without: after a capture that failed it is not to be trusted.

        Only one is open at a time, since a device may not hold two. Bindings made before are of no use any more. Raises
        what opening raises; then there is no session until this has been called again.
        """
        self.close()
        self._options.clear()
        self._session = None
        self._session = self._open(graphs)
        self._thread = OneThread("device") if graphs else None

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def get_outputs(self) -> Any:
        return self._session.get_outputs()

    def get_providers(self) -> Any:
        return self._session.get_providers()

    def io_binding(self) -> Any:
        return self._session.io_binding()

    def run(self, names: Sequence[str] | None, feed: Any) -> Any:
        """A run with tensors of the host, which ONNX Runtime copies."""
        session = self._session
        with self.gate.running():
            return self._call(lambda: session.run(names, feed, self._plain))

    def run_with_iobinding(self, binding: Any) -> None:
        """A run of whatever is bound."""
        with self.gate.running():
            self.run_bound(binding)

    def run_bound(self, binding: Any, graph: int = NO_GRAPH) -> None:
        """A run of whatever is bound, as graph number `graph`; the caller holds the gate.

        The first run of a graph captures it, for which the caller holds the gate alone.
        """
        options = self._plain
        if graph != NO_GRAPH:
            options = self._options.get(graph) or self._options.setdefault(graph, run_options(graph))
        session = self._session
        self._call(lambda: session.run_with_iobinding(binding, options))

    def close(self) -> None:
        """Ends the thread; the session itself goes with its last reference."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def __del__(self) -> None:
        if getattr(self, "_thread", None) is not None:
            self.close()

    def _call(self, function: Callable[[], Any]) -> Any:
        return function() if self._thread is None else self._thread.call(function)
