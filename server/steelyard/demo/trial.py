"""Version 2 beside version 1: asked what production is asked, held against its answers, and judged by the gate."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from steelyard.client import AsyncClient
from steelyard.client.admin import AdminClient
from steelyard.client.results import decode_response
from steelyard.demo.progress import Progress
from steelyard.demo.questions import Question
from steelyard.demo.repository import AS_PACKAGED, INPUT, MODEL, OUTPUT, QUANTIZED
from steelyard.errors import Unavailable
from steelyard.rollout.disagreement_file import DisagreementsReader
from steelyard.wire.generated import admin as pb

Result = TypeVar("Result")

CHALLENGER = "challenger"
ACTOR = "steelyard demo"

# Callers who wait after an answer for as long as it took: half of what the server can do, since a candidate only gets
# what production leaves over.
CALLERS = 4
# What the version in production is asked again, to learn its own noise.
CALIBRATION_REQUESTS = 40
# A call loads a version at most; a request takes a tenth of a second.
TIMEOUT_S = 60.0
# Traffic ends then, decided or not; and what waits for the candidate after it has so long.
MAX_TRAFFIC_S = 30.0
MAX_WAIT_S = 20.0
POLL_S = 0.25
DRILL_STAY_MS = 500
KEPT_WORST = 10


@dataclass(frozen=True, slots=True)
class Worst:
    """A file of which the two say different things."""

    path: str
    primary: str
    """The type that the version in production tells."""
    candidate: str
    grade: str
    severity: float
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it."""

    asked: int
    """Files that were asked about before it was decided, or that there were."""
    seconds: float
    """From the first file to the verdict, or to the last pair."""
    seen: Mapping[str, Any]
    """The shadow's status at its end, as `steelyard shadow status --json` has it."""
    worst: tuple[Worst, ...]
    drill: Mapping[str, Any]
    """What the event of the rollback drill says."""

    @property
    def verdict(self) -> str:
        """safe, harmful, exhausted or undecided."""
        return str(self.seen["verdict"])

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "asked": self.asked,
            "seconds": self.seconds,
            "verdict": self.verdict,
            "shadow": dict(self.seen),
            "worst": [
                {
                    "path": one.path,
                    "primary": one.primary,
                    "candidate": one.candidate,
                    "grade": one.grade,
                    "severity": one.severity if one.severity != float("inf") else None,
                    "broken": list(one.broken),
                }
                for one in self.worst
            ],
            "drill": dict(self.drill),
        }


class Administration:
    """The calls of a server's admin service that a trial makes."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def challenge(self) -> None:
        """Returns when the challenger stands for version 2, which is loaded, with version 1 to go back to."""
        listed = self._client.call("ListLabels", pb.ListLabelsRequest(model=MODEL), pb.ListLabelsResponse)
        if any(label.label == CHALLENGER for label in listed.labels):
            request = pb.RemoveLabelRequest(model=MODEL, label=CHALLENGER, who=_who("another demo"))
            self._client.call("RemoveLabel", request, pb.Event)
        for version in (AS_PACKAGED, QUANTIZED):
            self._set(version)

    def _set(self, version: int) -> None:
        request = pb.SetLabelRequest(
            model=MODEL, label=CHALLENGER, version=str(version), who=_who("to be tried")
        )
        deadline_s = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self._client.call("SetLabel", request, pb.Event)
                return
            except (
                Unavailable
            ):  # it is being loaded already, since an earlier demo has left it to be kept warm
                if time.monotonic() > deadline_s:
                    raise
            time.sleep(POLL_S)

    def calibrate(self) -> None:
        """Returns when the version in production has been asked enough again; needs traffic."""
        request = pb.CalibrateRequest(
            model=MODEL,
            requests=CALIBRATION_REQUESTS,
            timeout_ms=int(MAX_TRAFFIC_S * 1e3),
            who=_who("its own noise"),
        )
        self._client.call("Calibrate", request, pb.Event)

    def start(self) -> None:
        """Starts the challenger as a shadow; one that an earlier demo has left is ended first."""
        for left in self.trials()["shadows"]:
            self._stop(left["name"])
        request = pb.StartShadowRequest(
            model=MODEL, version=CHALLENGER, sample=1.0, who=_who("is it as good in eight bits?")
        )
        self._client.call("StartShadow", request, pb.Event)

    def end(self) -> dict[str, Any]:
        """Ends the shadow, unless the gate has; what it had seen."""
        for running in self.trials()["shadows"]:
            self._stop(running["name"])
        seen: dict[str, Any] = self.trials()["last_shadow"]["seen"]
        return seen

    def trials(self) -> dict[str, Any]:
        """The model's shadows, and the last that has ended."""
        found = self._client.call("GetTrials", pb.GetTrialsRequest(model=MODEL), pb.Trials)
        status: dict[str, Any] = json.loads(found.status)
        return status

    def _stop(self, candidate: str) -> None:
        request = pb.StopShadowRequest(model=MODEL, candidate=candidate, who=_who("the demo has seen enough"))
        self._client.call("StopShadow", request, pb.Event)

    def drill(self) -> dict[str, Any]:
        """Rolls the challenger back to version 1, and forward again; the event's details."""
        request = pb.RollbackRequest(
            model=MODEL, label=CHALLENGER, drill=True, stay_ms=DRILL_STAY_MS, who=_who("to see that it works")
        )
        event = self._client.call("Rollback", request, pb.Event)
        details: dict[str, Any] = json.loads(event.details)
        return details


def try_challenger(
    address: str, data: Path, questions: Sequence[Question], labels: Sequence[str], progress: Progress
) -> Trial:
    """Asks version 1 about files, one time each, with version 2 as its shadow, until the gate has decided.

    labels: of the model's classes. The challenger is to stand for version 2 already.

    Raises what a request that fails raises.
    """
    try:
        return asyncio.run(_try(address, data, questions, labels, progress))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _try(
    address: str, data: Path, questions: Sequence[Question], labels: Sequence[str], progress: Progress
) -> Trial:
    admin = AdminClient(data, TIMEOUT_S)
    server = Administration(admin)
    try:
        async with AsyncClient(address, timeout_s=TIMEOUT_S) as client:
            progress.say("calibrating: version 1 against itself, alone and in batches of other sizes")
            await _meanwhile(client, "", questions, 1, server.calibrate)
            await asyncio.to_thread(server.start)
            asked: dict[str, str] = {}
            started_s = time.perf_counter()
            with progress.bar("asking version 1, with 2 as its shadow", len(questions)) as advance:
                await _ask_until_decided(client, server, questions, asked, advance)
            await _wait_for_pairs(server, len(asked))
            seconds = time.perf_counter() - started_s
            seen = await asyncio.to_thread(server.end)
            progress.say("a rollback drill, under traffic")
            drill = await _meanwhile(client, CHALLENGER, questions, CALLERS, server.drill)
    finally:
        # Also ends a call that is under way in its thread, for which a demo that is interrupted would wait.
        admin.close()
    worst = _worst(data / "shadows" / f"{seen['key']}.sqlite", seen["key"], asked, labels)
    return Trial(len(asked), seconds, seen, worst, drill)


async def _meanwhile(
    client: AsyncClient, version: str, questions: Sequence[Question], callers: int, work: Callable[[], Result]
) -> Result:
    """What `work` gives, done while `version` is asked about the files, again and again."""
    working = asyncio.ensure_future(asyncio.to_thread(work))

    def endless() -> Iterable[Question]:
        while not working.done():
            yield from questions

    await _ask(client, version, endless(), callers, working.done, lambda question, decision_id: None)
    return await working


async def _ask_until_decided(
    client: AsyncClient,
    server: Administration,
    questions: Sequence[Question],
    asked: dict[str, str],
    advance: Callable[[], None],
) -> None:
    """Fills `asked`: paths by decision id."""
    deadline_s = time.monotonic() + MAX_TRAFFIC_S

    def answered(question: Question, decision_id: str) -> None:
        asked[decision_id] = question.file.path
        advance()

    async def decided() -> None:
        while True:
            if _is_over(await asyncio.to_thread(server.trials)):
                return
            await asyncio.sleep(POLL_S)

    looking = asyncio.ensure_future(decided())
    try:
        await _ask(
            client, "", questions, CALLERS, lambda: looking.done() or time.monotonic() > deadline_s, answered
        )
        if looking.done():
            await looking
    finally:
        looking.cancel()


async def _ask(
    client: AsyncClient,
    version: str,
    questions: Iterable[Question],
    callers: int,
    is_enough: Callable[[], bool],
    answered: Callable[[Question, str], None],
) -> None:
    """Asks `version` (empty: the default label) for the scores of files, by several callers."""
    waiting = iter(questions)

    async def work() -> None:
        for question in waiting:
            if is_enough():
                return
            file = np.array([question.file.content], dtype=object)
            result = await client.infer(MODEL, {INPUT: file}, version=version)
            answered(question, result.decision_id)
            await asyncio.sleep(result.elapsed_ns / 1e9)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(work())


def _is_over(trials: Mapping[str, Any]) -> bool:
    """Whether the gate has decided; a shadow that was harmful or exhausted is there no more."""
    shadows = trials["shadows"]
    return not shadows or shadows[0]["verdict"] != "undecided"


async def _wait_for_pairs(server: Administration, asked: int) -> None:
    """Returns when all of what was asked has been compared or dropped, the gate has decided, or the time is over.

    The counts of what was sampled reach the supervisor a moment after the answers reach their callers.
    """
    deadline_s = time.monotonic() + MAX_WAIT_S
    while time.monotonic() < deadline_s:
        trials = await asyncio.to_thread(server.trials)
        if _is_over(trials):
            return
        (shadow,) = trials["shadows"]
        if shadow["tap"].get("sampled", 0) >= asked and _open_pairs(shadow) <= 0:
            return
        await asyncio.sleep(POLL_S)


def _open_pairs(shadow: Mapping[str, Any]) -> int:
    """Requests that were sampled and neither dropped nor counted yet."""
    tap, pairs = shadow["tap"], shadow["pairs"]
    dropped = sum(count for name, count in tap.items() if name.startswith("dropped_"))
    counted = 0
    if pairs is not None:
        failures = pairs["failures"]
        counted = pairs["pairs"] + sum(failures[side] for side in ("primary_only", "candidate_only", "both"))
    return int(tap.get("sampled", 0) - dropped - counted - sum(shadow["not_compared"].values()))


def _worst(file: Path, key: str, asked: Mapping[str, str], labels: Sequence[str]) -> tuple[Worst, ...]:
    """The most severe that were kept, and of those as severe the ones where production was surest."""
    found = []
    with DisagreementsReader(file) as reader:
        for listed in reader.list(key):
            kept = reader.get(listed.decision_id, key)
            if kept is not None:
                sure, primary = _told(kept.primary, labels)
                _, candidate = _told(kept.candidate, labels)
                path = asked.get(listed.decision_id, listed.decision_id)
                worst = Worst(path, primary, candidate, listed.grade, listed.severity, listed.broken)
                found.append((listed.severity, sure, worst))
    found.sort(key=lambda one: one[:2], reverse=True)
    return tuple(worst for _, _, worst in found[:KEPT_WORST])


def _told(answer: bytes | str, labels: Sequence[str]) -> tuple[float, str]:
    """The best score of an answer, and what it says of a file with it; of an error, 0 and its text."""
    if isinstance(answer, str):
        return 0.0, answer
    scores = decode_response(answer, 0, 1)[OUTPUT].ravel()
    best = int(scores.argmax())
    score = float(scores[best])
    return score, f"{labels[best]} {score:.2f}"


def _who(reason: str) -> pb.Who:
    return pb.Who(actor=ACTOR, reason=reason)
