"""Callers whose requests keep failing inside batches: for a while each of theirs runs alone."""

from collections import OrderedDict

# This many culprits within the window make a caller suspect, for as long again after the last of them.
CULPRITS = 3
WINDOW_NS = 60_000_000_000

# Callers remembered; the one that failed longest ago is forgotten first. An address is some 30 bytes: a few hundred
# kilobytes in all, however many callers come.
REMEMBERED = 1024


class Suspects:
    """Counts failed requests by caller. Memory and time a call are bounded."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, list[int]] = OrderedDict()
        self.callers: OrderedDict[str, int] = OrderedDict()
        """Until when requests of each run alone, the first to be cleared first. Where it is empty nobody need be looked
        up."""

    def blame(self, caller: str, now_ns: int) -> None:
        """Notes that a request of `caller` failed in execution, by itself."""
        failures = self._failures.pop(caller, [])
        failures.append(now_ns)
        self._failures[caller] = failures = failures[-CULPRITS:]
        if len(self._failures) > REMEMBERED:
            self.callers.pop(self._failures.popitem(last=False)[0], None)
        if len(failures) == CULPRITS and failures[-1] - failures[0] <= WINDOW_NS:
            self.callers[caller] = now_ns + WINDOW_NS
            self.callers.move_to_end(caller)

    def is_suspect(self, caller: str, now_ns: int) -> bool:
        """Whether requests of `caller` should run alone. Whoever asks, those whose time is over are cleared."""
        callers = self.callers
        while callers and next(iter(callers.values())) < now_ns:
            callers.popitem(last=False)
        return caller in callers
