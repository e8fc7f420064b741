"""A canary on the request path: who gets the candidate, and how each arm's requests end."""

from collections.abc import Sequence
from typing import Any

from steelyard._native.decision import new_ids
from steelyard.clock import Clock
from steelyard.rollout.bucket import bucket
from steelyard.rollout.directive import Split
from steelyard.serving.call import Call
from steelyard.serving.catalog import Catalog
from steelyard.serving.version import ServedVersion
from steelyard.wire.types import InferRequest

# What a caller names to get the same arm every time, as a parameter of the request or in the call's metadata.
KEY_PARAMETER = "steelyard_key"
KEY_METADATA = "steelyard-key"

MAX_KEY_CHARS = 256

# Keys that are remembered, to count each once: 64 bits and a place in a set, some 6 MB. Later ones count for nothing.
KEYS_KEPT = 1 << 16


class Arm:
    """What became of the requests of one arm in one step of a canary, since `take` was last called."""

    __slots__ = ("_thresholds_ns", "assigned", "ended", "failed", "slower")

    def __init__(self, thresholds_ns: Sequence[int]) -> None:
        self._thresholds_ns = thresholds_ns
        self._clear()

    def _clear(self) -> None:
        self.assigned = self.ended = self.failed = 0
        self.slower = [0] * len(self._thresholds_ns)

    def end(self, failed: bool, total_ns: int) -> None:
        """A request has ended: `failed` where there was no answer, unless its caller went away before the deadline."""
        self.ended += 1
        if failed:
            self.failed += 1
        for place, threshold_ns in enumerate(self._thresholds_ns):
            # A request that failed was not fast.
            if failed or total_ns > threshold_ns:
                self.slower[place] += 1

    def take(self) -> dict[str, Any]:
        """The counts, which begin anew."""
        counts = {
            "assigned": self.assigned,
            "ended": self.ended,
            "failed": self.failed,
            "slower": self.slower,
        }
        self._clear()
        return counts


class CanaryRoute:
    """Chooses the arm of each request that names no version, by its key or, without one, by its decision id."""

    def __init__(self, split: Split, candidate: ServedVersion, clock: Clock, keys: set[int]) -> None:
        self.split = split
        self.candidate = candidate
        self.arms = (Arm(split.thresholds_ns), Arm(split.thresholds_ns))
        """Of the primary and of the candidate."""
        self._clock = clock
        self.keys = keys
        """Hashes of the keys that were counted."""

    def choose(self, call: Call, request: InferRequest, primary: ServedVersion) -> ServedVersion:
        """The version that answers; notes the arm in the call."""
        key = key_of(call, request)
        if key is None:
            (call.decision_id,) = new_ids(1, self._clock.unix_ns() // 1_000_000)
            place, is_new = bucket(self.split.number, call.decision_id), True
        else:
            place = bucket(self.split.number, key)
            is_new = self._is_new(hash(place))
        chosen = place < self.split.share
        call.arm = arm = self.arms[chosen]
        arm.assigned += is_new
        return self.candidate if chosen else primary

    def _is_new(self, key: int) -> bool:
        if key in self.keys or len(self.keys) >= KEYS_KEPT:
            return False
        self.keys.add(key)
        return True


def key_of(call: Call, request: InferRequest) -> str | None:
    """The key that the caller chose; None where there is none, or one that is no text of 1 to MAX_KEY_CHARS.

    A canary that starts must not refuse what was answered before.
    """
    key: object = request.parameters.get(KEY_PARAMETER) if request.parameters else None
    if key is None:
        key = next((value for name, value in call.metadata() if name == KEY_METADATA), None)
    return key if isinstance(key, str) and 0 < len(key) <= MAX_KEY_CHARS else None


class Canaries:
    """The canaries of every model, put on the versions that they are of; lives on the event loop.

    Where either arm is not served with the content that the canary is of, every request goes to the default version.
    """

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._splits: dict[str, Split] = {}
        self._routes: dict[str, CanaryRoute] = {}
        self._primaries: dict[str, ServedVersion] = {}
        catalog.watch(self._follow)

    def direct(self, model: str, split: Split | None) -> None:
        """From the next request on, `split` says who answers those that name no version; None: the default version."""
        if self._splits.get(model) == split:
            return
        self._detach(model)
        if split is None:
            self._splits.pop(model, None)
            self._routes.pop(model, None)
        else:
            self._splits[model] = split
            self._attach(model)

    def take(self) -> list[dict[str, Any]]:
        """What each arm has counted since this was last called."""
        return [
            {
                "model": model,
                "number": route.split.number,
                "step": route.split.step,
                "primary": route.arms[False].take(),
                "candidate": route.arms[True].take(),
            }
            for model, route in self._routes.items()
        ]

    def _follow(self, model: str) -> None:
        if model in self._splits:
            self._detach(model)
            self._attach(model)

    def _attach(self, model: str) -> None:
        split = self._splits[model]
        if model not in self._catalog:
            return
        entry = self._catalog.model(model)
        primary, candidate = entry.standing(split.primary), entry.standing(split.candidate)
        if primary is None or candidate is None or entry.default() is not primary:
            return
        known = self._routes.get(model)
        if known is None or known.split != split or known.candidate is not candidate:
            keys = known.keys if known is not None and known.split.number == split.number else set()
            known = CanaryRoute(split, candidate, self._clock, keys)
        self._routes[model] = known
        self._primaries[model] = primary
        primary.canary = known
        primary.in_canary = candidate.in_canary = True

    def _detach(self, model: str) -> None:
        primary = self._primaries.pop(model, None)
        if primary is not None:
            primary.canary = None
            primary.in_canary = self._routes[model].candidate.in_canary = False
