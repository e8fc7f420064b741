"""How long to wait before a worker that died is started again."""

FIRST_S = 0.1
LONGEST_S = 10.0

# A worker that lived this long had no trouble starting: the next death counts as the first.
STEADY_AFTER_S = 60.0


class Backoff:
    """Doubles from `FIRST_S` to `LONGEST_S`, and begins anew after a life of `STEADY_AFTER_S`."""

    def __init__(self) -> None:
        self._next_s = FIRST_S

    def after_life_of(self, seconds: float) -> float:
        """The pause, in seconds, after a worker that lived for `seconds`."""
        if seconds >= STEADY_AFTER_S:
            self._next_s = FIRST_S
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, LONGEST_S)
        return pause_s
