"""A canary on the request path: who gets the candidate, and how each arm's requests end."""

from collections.abc import Sequence
from typing import Any

from steelyard._native.decision import new_ids
from steelyard.clock import Clock
from steelyard.rollout.bucket import KEY_PARAMETER, bucket
from steelyard.rollout.directive import Split
from steelyard.serving.call import Call
from steelyard.serving.catalog import Catalog
from steelyard.serving.version import ServedVersion
from steelyard.wire.types import InferRequest

# What a caller names to get the same arm every time, in the call's metadata; or KEY_PARAMETER of the request.
KEY_METADATA = "steelyard-key"

MAX_KEY_CHARS = 256

# Keys that are remembered, to count each once: 64 bits and a place in a set, some 6 MB. Later ones count for nothing.
KEYS_KEPT = 1 << 16

# A float below 1 has so many places at the most.
PLACES = 1 << 53


class Arm:
    """What became of the requests of one arm in one step of a canary, since `take` was last called."""

    __slots__ = ("_thresholds_ns", "assigned", "ended", "failed", "slower", "under_way")

    def __init__(self, thresholds_ns: Sequence[int]) -> None:
        self._thresholds_ns = thresholds_ns
        self.under_way = 0
        """Requests that have not ended; `take` leaves them."""
        self._clear()

    def _clear(self) -> None:
        self.assigned = self.ended = self.failed = 0
        self.slower = [0] * len(self._thresholds_ns)

    def end(self, failed: bool, total_ns: int) -> None:
        """A request has ended: `failed` where there was no answer, unless its caller went away before the deadline."""
        self.under_way -= 1
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


class Keys:
    """Which keys of one canary have been counted; they outlive every directive but another canary's."""

    def __init__(self, number: int, known: bool, worker: int = 0, workers: int = 1) -> None:
        """known: whether there is nobody but us who may have counted keys of this canary. Else none counts.

        worker, workers: which of how many we are. Each counts its own part of all keys, so that none is counted twice.
        """
        self.number = number
        self._known = known
        self._worker, self._workers = worker, workers
        self._hashes: set[int] = set()

    def is_new(self, place: float) -> bool:
        """Whether the key at `place` is to be counted now."""
        key = hash(place)
        # By the last bits of the place, since the first ones say which arm it has.
        is_ours = int(place * PLACES) % self._workers == self._worker
        if not is_ours or not self._known or key in self._hashes or len(self._hashes) >= KEYS_KEPT:
            return False
        self._hashes.add(key)
        return True


class CanaryRoute:
    """Chooses the arm of each request that names no version, by its key or, without one, by its decision id."""

    def __init__(
        self, split: Split, primary: ServedVersion, candidate: ServedVersion, clock: Clock, keys: Keys
    ) -> None:
        self.split = split
        self.primary = primary
        self.candidate = candidate
        self.arms = (Arm(split.thresholds_ns), Arm(split.thresholds_ns))
        """Of the primary and of the candidate."""
        self._clock = clock
        self._keys = keys

    @property
    def under_way(self) -> int:
        """Requests that have an arm and have not ended."""
        return self.arms[False].under_way + self.arms[True].under_way

    def choose(self, call: Call, request: InferRequest, primary: ServedVersion) -> ServedVersion:
        """The version that answers; notes the arm in the call."""
        key = key_of(call, request)
        if key is None:
            (call.decision_id,) = new_ids(1, self._clock.unix_ns() // 1_000_000)
            place, is_new = bucket(self.split.number, call.decision_id), True
        else:
            place = bucket(self.split.number, key)
            is_new = self._keys.is_new(place)
        chosen = place < self.split.share
        call.arm = arm = self.arms[chosen]
        arm.assigned += is_new
        arm.under_way += 1
        return self.candidate if chosen else primary


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

    def __init__(self, catalog: Catalog, clock: Clock, worker: int = 0, workers: int = 1) -> None:
        """worker, workers: which of how many we are."""
        self._catalog = catalog
        self._clock = clock
        self._worker, self._workers = worker, workers
        self._splits: dict[str, Split] = {}
        self._keys: dict[str, Keys] = {}
        self._routes: dict[str, CanaryRoute] = {}
        # Off the request path, with counts that were not taken or requests that have not ended.
        self._leaving: list[tuple[str, CanaryRoute]] = []
        catalog.watch(self._follow)

    def direct(self, model: str, split: Split | None) -> None:
        """From the next request on, `split` says who answers those that name no version; None: the default version."""
        if split is None:
            self._splits.pop(model, None)
        else:
            self._splits[model] = split
            keys = self._keys.get(model)
            if keys is None or keys.number != split.number:
                self._keys[model] = Keys(split.number, not split.counted, self._worker, self._workers)
        self._follow(model)

    def take(self) -> list[dict[str, Any]]:
        """What each arm has counted since this was last called, also of a split that is gone."""
        counts = [
            {
                "model": model,
                "number": route.split.number,
                "step": route.split.step,
                "primary": route.arms[False].take(),
                "candidate": route.arms[True].take(),
            }
            for model, route in (*self._leaving, *self._routes.items())
        ]
        gone = [route for _, route in self._leaving if not route.under_way]
        self._leaving = [(model, route) for model, route in self._leaving if route.under_way]
        staying = [*self._routes.values(), *(route for _, route in self._leaving)]
        arms = {version for route in staying for version in (route.primary, route.candidate)}
        for route in gone:
            for version in {route.primary, route.candidate} - arms:
                version.in_canary = False
        return counts

    def _follow(self, model: str) -> None:
        """Puts the model's split on its versions, as both are now."""
        split = self._splits.get(model)
        arms = None if split is None else self._arms(model, split)
        route = self._routes.get(model)
        if route is not None:
            if (route.split, (route.primary, route.candidate)) == (split, arms):
                return
            route.primary.canary = None
            self._leaving.append((model, self._routes.pop(model)))
        if split is not None and arms is not None:
            primary, candidate = arms
            self._routes[model] = primary.canary = CanaryRoute(
                split, primary, candidate, self._clock, self._keys[model]
            )
            primary.in_canary = candidate.in_canary = True

    def _arms(self, model: str, split: Split) -> tuple[ServedVersion, ServedVersion] | None:
        """The versions that are compared; None where one of them does not stand."""
        if model not in self._catalog:
            return None
        entry = self._catalog.model(model)
        primary, candidate = entry.standing(split.primary), entry.standing(split.candidate)
        if primary is None or candidate is None or entry.default() is not primary:
            return None
        return primary, candidate
