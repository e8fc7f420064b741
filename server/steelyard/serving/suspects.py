"""Callers whose requests keep failing inside batches: for a while each of theirs runs alone."""

from collections import OrderedDict

# This many culprits within the window make a caller suspect, for as long again after the last of them.
CULPRITS = 3
WINDOW_NS = 60_000_000_000

# Callers remembered; the one that failed longest ago is forgotten first. An address is some 30 bytes: a few hundred
# kilobytes in all, however many callers come.
REMEMBERED = 1024


class Suspects:
    """Counts failed requests by caller. Memory and time a call are bounded; an empty table costs one look-up."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, list[int]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._failures)

    def blame(self, caller: str, now_ns: int) -> None:
        """Notes that a request of `caller` failed in execution, by itself."""
        failures = self._failures.pop(caller, [])
        failures.append(now_ns)
        self._failures[caller] = failures[-CULPRITS:]
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def is_suspect(self, caller: str, now_ns: int) -> bool:
        """Whether requests of `caller` should run alone."""
        if not self._failures:
            return False
        failures = self._failures.get(caller)
        if failures is None:
            return False
        if now_ns - failures[-1] > WINDOW_NS:
            del self._failures[caller]
            return False
        return len(failures) == CULPRITS and failures[-1] - failures[0] <= WINDOW_NS
