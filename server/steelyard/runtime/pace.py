"""How fast a version is loaded: at once while nothing is served, and with pauses between the steps afterwards."""

import time
from collections.abc import Callable

# So many times as long as a step the pause after it is: measured over the swap of a version of 90 MB beside another
# model's requests, with 1 the other's p99 rises to 18 ms, with 4 to 10, and with 9 to 9, for twice the time.
PAUSES = 4

# A step is seldom longer than a tenth of a second (90 MB hashed, its session opened, a run of 64 rows); after a longer
# one, a longer pause would only hold up the load.
MAX_PAUSE_NS = 400_000_000


class Pace:
    """Pauses after each step for `PAUSES` times as long as it took, so that a load takes a fifth of one core.

    Not by a lower priority: ONNX Runtime's threads would keep it for good, and a thread of low priority that holds the
    interpreter's lock holds up the event loop.
    """

    def __init__(
        self,
        giving_way: bool = False,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._giving_way = giving_way
        self._now_ns = now_ns
        self._sleep = sleep
        self._since_ns = now_ns()
        self.paused_ns = 0
        """The pauses so far, in all."""

    def pause(self) -> None:
        """To be called between two steps, on the thread that does them."""
        if not self._giving_way:
            return
        ended_ns = self._now_ns()
        self._sleep(min(PAUSES * (ended_ns - self._since_ns), MAX_PAUSE_NS) / 1e9)
        self._since_ns = self._now_ns()
        self.paused_ns += self._since_ns - ended_ns
