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
        self.callers: OrderedDict[str, list[int]] = OrderedDict()
        """When requests of each failed last, up to `CULPRITS` times. Where it is empty nobody need be looked up."""

    def blame(self, caller: str, now_ns: int) -> None:
        """Notes that a request of `caller` failed in execution, by itself."""
        failures = self.callers.pop(caller, [])
        failures.append(now_ns)
        self.callers[caller] = failures[-CULPRITS:]
        if len(self.callers) > REMEMBERED:
            self.callers.popitem(last=False)

    def is_suspect(self, caller: str, now_ns: int) -> bool:
        """Whether requests of `caller` should run alone."""
        failures = self.callers.get(caller)
        if failures is None:
            return False
        if now_ns - failures[-1] > WINDOW_NS:
            del self.callers[caller]
            return False
        return len(failures) == CULPRITS and failures[-1] - failures[0] <= WINDOW_NS
