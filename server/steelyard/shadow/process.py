"""A shadow's work: units come over a socket, are run by the candidate, compared, counted and acknowledged."""

import contextlib
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from steelyard.errors import DataError, InvalidRequest
from steelyard.evidence.masking import Masks
from steelyard.observe.logs import log
from steelyard.rollout.comparison import Comparison, Pair
from steelyard.rollout.disagreements import Disagreements
from steelyard.rollout.frames import Asked, Unit, decode_unit, encode_ack, read_frame
from steelyard.shadow.account import Account
from steelyard.shadow.answers import Outputs, decoded
from steelyard.shadow.calibration import Calibration
from steelyard.shadow.candidate import Candidate, Outcome, Ran
from steelyard.shadow.keeping import PayloadKeeping
from steelyard.shadow.processor import ProcessorWait
from steelyard.shadow.running import RunningUnit
from steelyard.wire.status import Status

# As many workers as a server may have, and as many that take their places.
MAX_CONNECTIONS = 128

# Outputs of which it is kept how far a disagreement's two answers are apart: what is kept about one is bounded.
MAX_ERRORS = 64


@dataclass(slots=True)
class _UnderWay:
    """A unit that the candidate is running, whose thread it holds, and since when."""

    unit: Unit
    connection: socket.socket
    wait: "ProcessorWait"
    began_ns: int
    waited_ns: int


class ShadowWork:
    """Takes units from every connection, one at a time; threads of its own do the work.

    What is counted may be read from other threads, by way of `document`.
    """

    def __init__(
        self,
        candidate: Candidate,
        comparison: Comparison,
        account: Account,
        max_bytes: int,
        batched: bool,
        calibration: Calibration | None = None,
        disagreements: Disagreements | None = None,
        running: RunningUnit | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        masks: Masks | None = None,
        payloads: PayloadKeeping | None = None,
    ) -> None:
        """max_bytes: of one unit. batched: whether the first axis of what the version offers counts rows.

        calibration: where the candidate is the primary's own version. running: where whoever started the process sees
        what was being run when it ended. masks: what is blotted out of disagreements. payloads: takes them as well.
        """
        self._candidate = candidate
        self._comparison = comparison
        self._account = account
        self._max_bytes = max_bytes
        self._batched = batched
        self._calibration = calibration
        self._disagreements = disagreements
        self._running = running or RunningUnit()
        self._now_ns = now_ns
        self._masks = masks or Masks(())
        self._payloads = payloads
        self._turn = threading.Lock()
        self._books = threading.Lock()
        self._under_way: _UnderWay | None = None
        self._room = threading.Semaphore(MAX_CONNECTIONS)

    def serve(self, listener: socket.socket) -> None:
        """Accepts connections for ever, each on a thread of its own."""
        while True:
            self._room.acquire()
            connection, _ = listener.accept()
            threading.Thread(target=self._converse, args=(connection,), name="units", daemon=True).start()

    def document(self) -> dict[str, Any]:
        """The checkpoint as it stands."""
        with self._books:
            document = self._account.document()
            if self._calibration is not None:
                document["calibration"] = self._calibration.document()
            return document

    def busy_ns(self) -> int:
        """For how long the candidate has been at the unit that it runs now, less what its thread waited for a processor
        that others had; 0 where it runs none."""
        under_way = self._under_way
        if under_way is None:
            return 0
        waited_ns = under_way.wait.ns() - under_way.waited_ns
        return max(0, self._now_ns() - under_way.began_ns - waited_ns)

    def give_up(self, reason: str) -> bool:
        """Counts the unit that is run now as the candidate's failure, and acknowledges it; says whether there was one.

        Call before the process ends.
        """
        with self._books:
            under_way, self._under_way = self._under_way, None
            if under_way is None:
                return False
            unit = under_way.unit
            failed = Outcome(error=reason, status=int(Status.DEADLINE_EXCEEDED))
            if self._calibration is None:
                self._count(unit, Ran([failed] * len(unit.asked)))
            self._running.done()
        with contextlib.suppress(OSError):
            under_way.connection.send(encode_ack(unit.sequence), socket.MSG_DONTWAIT)
        return True

    def _converse(self, connection: socket.socket) -> None:
        wait = ProcessorWait()
        try:
            with connection:
                while (frame := read_frame(connection, self._max_bytes)) is not None:
                    unit = decode_unit(frame[2])
                    del frame
                    self._take(unit, connection, wait)
                    connection.sendall(encode_ack(unit.sequence))
                    # A unit may be large, and the next one may be long in coming.
                    del unit
        except DataError as error:
            log("shadow.unit_refused", level=logging.ERROR, reason=str(error))
        except OSError:
            pass
        finally:
            wait.close()
            self._room.release()

    def _take(self, unit: Unit, connection: socket.socket, wait: ProcessorWait) -> None:
        with self._turn:
            if self._calibration is None:
                ran = self._run(unit, connection, wait, unit.asked, unit.rows)
                with self._done():
                    self._count(unit, ran)
                return
            for asked in unit.asked:
                primary = decoded(asked.answer) if asked.status == 0 else None
                if primary is None:
                    continue
                for batch in self._calibration.batches(asked):
                    ran = self._run(unit, connection, wait, batch)
                    with self._done():
                        self._calibrate(self._calibration, primary, ran.outcomes[0])

    def _run(
        self,
        unit: Unit,
        connection: socket.socket,
        wait: ProcessorWait,
        asked: Sequence[Asked],
        rows: int = 0,
    ) -> Ran:
        """Lets the candidate run requests, under the eye of whoever asks how long it has been at them."""
        failed = sum(one.status != 0 for one in unit.asked)
        self._running.begins(len(unit.asked) - failed, failed)
        self._under_way = _UnderWay(unit, connection, wait, self._now_ns(), wait.ns())
        return self._candidate.run(asked, rows)

    @contextlib.contextmanager
    def _done(self) -> Iterator[None]:
        """For counting what was run. Raises ConnectionAbortedError where it was given up and counted meanwhile: the
        process is about to end."""
        with self._books:
            under_way, self._under_way = self._under_way, None
            if under_way is None:
                raise ConnectionAbortedError
            self._running.done()
            yield

    def _calibrate(self, calibration: Calibration, primary: Outputs, outcome: Outcome) -> None:
        candidate = decoded(outcome.answer) if outcome.status == 0 else None
        pair = None
        if candidate is not None:
            pair = self._comparison.compare(primary, candidate, rows_of(primary, self._batched))
        calibration.add(pair)

    def _count(self, unit: Unit, ran: Ran) -> None:
        # Times say something of each other only where both are of the same batch.
        same = ran.rows == unit.rows and ran.execute_ns > 0 and unit.execute_ns > 0
        primary_ns, candidate_ns = (unit.execute_ns, ran.execute_ns) if same else (0, 0)
        self._account.ran(self._candidate.digest, unit.rows, primary_ns, candidate_ns)
        pairs = 0
        for asked, outcome in zip(unit.asked, ran.outcomes, strict=True):
            pairs += self._pair(asked, outcome)
        if same:
            self._account.took(pairs, primary_ns, candidate_ns)

    def _pair(self, asked: Asked, outcome: Outcome) -> bool:
        """Counts what became of a request on both sides; whether that was a pair."""
        account = self._account
        if outcome.unmet:
            account.not_compared[outcome.unmet] += 1
            return False
        primary = decoded(asked.answer) if asked.status == 0 else None
        if primary is None and asked.status == 0:
            account.not_compared["unreadable"] += 1
            return False
        candidate = decoded(outcome.answer) if outcome.status == 0 else None
        if primary is None or candidate is None:
            kinds = (
                None if primary is not None else kind_of(asked.status),
                None if candidate is not None else kind_of(outcome.status),
            )
            account.failed(*kinds)
            if kinds[0] is None:
                self._keep(asked, outcome, math.inf, ("the candidate failed",))
            elif kinds[1] is None:
                self._keep(asked, outcome, math.inf, ("the primary failed",))
            return True
        pair = self._comparison.compare(primary, candidate, rows_of(primary, self._batched))
        account.seen.add(pair, primary, candidate)
        account.answered(not pair.agrees)
        if not pair.agrees:
            self._keep(asked, outcome, pair.severity, pair.broken, pair)
        return True

    def _keep(
        self,
        asked: Asked,
        outcome: Outcome,
        severity: float,
        broken: Sequence[str],
        pair: Pair | None = None,
    ) -> None:
        if self._payloads is not None:
            self._payloads.keep(asked)
        if self._disagreements is None:
            return
        about = {
            "why": {} if pair is None else dict(pair.why),
            "errors": {} if pair is None else errors_of(pair, self._masks),
            "candidate": self._candidate.digest,
        }
        try:
            body, _ = self._masks.request(asked.body)
            error = asked.answer.decode("utf-8", "replace") if asked.status else ""
            primary = self._masked(asked.answer, asked.status, error)
            candidate = self._masked(outcome.answer, outcome.status, outcome.error)
            self._disagreements.keep(
                asked.decision_id,
                self._account.seen.rollout,
                severity,
                broken,
                body,
                primary,
                candidate,
                about,
            )
        except (DataError, InvalidRequest, ValueError) as error:
            # What is counted stays true without it.
            log("shadow.not_kept", level=logging.WARNING, reason=str(error))
            self._disagreements = None

    def _masked(self, answer: bytes, status: int, error: str) -> bytes | str:
        """A side's answer, or its error's words, as they may be kept."""
        return self._masks.message(error) if status else self._masks.answer(answer)[0]


def rows_of(answer: Outputs, batched: bool) -> int | None:
    """What the first axis of the answer counts; None where it counts no rows."""
    first = next(iter(answer.values()), None)
    return first.shape[0] if batched and first is not None and first.ndim else None


def errors_of(pair: Pair, masks: Masks) -> dict[str, dict[str, float | None]]:
    """By output of numbers that no mask hides, how far the two answers are apart; None: infinitely."""
    return {
        name: {
            "max_absolute": error.max_absolute if math.isfinite(error.max_absolute) else None,
            "max_relative": error.max_relative if math.isfinite(error.max_relative) else None,
        }
        for name, error in list(pair.error.items())[:MAX_ERRORS]
        if not masks.hides(name)
    }


def kind_of(status: int) -> str:
    """What an error is called among those of its side."""
    try:
        return Status(status).name
    except ValueError:
        return f"status {status}"
