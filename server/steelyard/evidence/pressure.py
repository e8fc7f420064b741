"""Whether requests wait: what the housekeeper looks at before it takes the next step."""

import time
from collections.abc import Callable
from dataclasses import dataclass

# Looked at so often while it waits: a step takes some tens of milliseconds.
LOOK_S = 0.1

# A queue wait that has risen: so many times what it was on average, and by so much. Below, it is the batcher's play.
RISEN = 2.0
SLACK_NS = 1_000_000

# The average that it is held against follows by this share a second, so a lasting load becomes the usual one.
FOLLOWED = 0.02

# Then one step is taken all the same, or the journal would grow for as long as a server is busy.
LONGEST_S = 10.0


@dataclass(frozen=True, slots=True)
class Waited:
    """What all workers have counted so far."""

    requests: int
    wait_ns: int
    """How long these have waited in queues, together."""


class Pressure:
    """Lets long work go on while the queue wait is what it usually is. Times in ns and seconds, as named."""

    def __init__(
        self,
        read: Callable[[], Waited],
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read = read
        self._now_ns = now_ns
        self._sleep = sleep
        self._before = read()
        self._looked_ns = now_ns()
        self._usual_ns: float | None = None
        self._risen = False
        self.waits = 0
        """How often it was held up."""

    def pause(self) -> None:
        """Returns when the wait is the usual one, or after `LONGEST_S`."""
        if not self._is_risen():
            return
        self.waits += 1
        until_ns = self._now_ns() + int(LONGEST_S * 1e9)
        while self._now_ns() < until_ns:
            self._sleep(LOOK_S)
            if not self._is_risen():
                return

    def _is_risen(self) -> bool:
        now_ns = self._now_ns()
        passed_s = (now_ns - self._looked_ns) / 1e9
        if passed_s < LOOK_S:
            return self._risen
        now = self._read()
        requests = now.requests - self._before.requests
        wait_ns = (now.wait_ns - self._before.wait_ns) / requests if requests > 0 else 0.0
        self._before, self._looked_ns = now, now_ns
        usual_ns = wait_ns if self._usual_ns is None else self._usual_ns
        self._risen = wait_ns > usual_ns * RISEN + SLACK_NS
        self._usual_ns = usual_ns + (wait_ns - usual_ns) * min(1.0, FOLLOWED * passed_s)
        return self._risen
