"""The housekeeper gives way while requests wait longer than they usually do."""

from steelyard.clock import ManualClock
from steelyard.evidence.pressure import LONGEST_S, LOOK_S, RISEN, SLACK_NS, Pressure, Waited

USUAL_NS = 200_000


class Queue:
    """Requests that each wait `each_ns`, a thousand a look."""

    def __init__(self, clock: ManualClock) -> None:
        self.each_ns = USUAL_NS
        self.clock = clock
        self.slept = 0
        self.calm_after = 10**9
        self.counted = Waited(0, 0)

    def read(self) -> Waited:
        self.counted = Waited(self.counted.requests + 1000, self.counted.wait_ns + 1000 * self.each_ns)
        return self.counted

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        if self.slept == self.calm_after:
            self.each_ns = USUAL_NS
        self.clock.advance(int(seconds * 1e9) + 1)


def settled() -> tuple[Pressure, Queue]:
    clock = ManualClock()
    queue = Queue(clock)
    pressure = Pressure(queue.read, clock.now_ns, queue.sleep)
    for _ in range(5):
        clock.advance(int(LOOK_S * 1e9))
        pressure.pause()
    assert queue.slept == 0
    return pressure, queue


def test_it_waits_until_the_wait_is_the_usual_one_again() -> None:
    pressure, queue = settled()
    queue.each_ns = int(USUAL_NS * RISEN + 2 * SLACK_NS)
    queue.calm_after = 7
    queue.clock.advance(int(LOOK_S * 1e9))
    pressure.pause()
    assert (queue.slept, pressure.waits) == (7, 1)


def test_a_little_more_is_no_pressure() -> None:
    pressure, queue = settled()
    queue.each_ns = USUAL_NS + SLACK_NS // 2
    queue.clock.advance(int(LOOK_S * 1e9))
    pressure.pause()
    assert queue.slept == 0


def test_a_lasting_load_does_not_keep_it_for_ever() -> None:
    pressure, queue = settled()
    queue.each_ns = 100 * USUAL_NS
    queue.clock.advance(int(LOOK_S * 1e9))
    pressure.pause()
    assert queue.slept <= LONGEST_S / LOOK_S + 1
    for _ in range(100):
        queue.clock.advance(int(LOOK_S * 1e9))
        pressure.pause()
    slept = queue.slept
    queue.clock.advance(int(LOOK_S * 1e9))
    pressure.pause()
    assert queue.slept == slept
