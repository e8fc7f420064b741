"""The audit that the housekeeper runs on a schedule."""

import logging
from collections.abc import Callable

from steelyard.clock import Clock
from steelyard.config import Settings
from steelyard.errors import EvidenceError
from steelyard.evidence.audited import audit_whole, last_audit
from steelyard.evidence.parquet_segments import ParquetSegments
from steelyard.evidence.tlog import key_paths
from steelyard.observe.logs import log

# What the log has of what is wrong; `steelyard audit verify` says all of it.
FAULTS_TOLD = 20


class ScheduledAudit:
    """Knows when the next one is due: so long after the last of the whole, whoever ran it."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._tried_ms = 0

    @property
    def is_due(self) -> bool:
        """Whether one is to be run now. Without an interval none ever is."""
        interval_ms = self._settings.audit_interval_s * 1000
        last = last_audit(self._settings.data)
        # One that could not be run is not tried again at once.
        before_ms = max(self._tried_ms, last.unix_ms if last is not None else 0)
        return bool(interval_ms) and not 0 <= self._now_ms() - before_ms < interval_ms

    def run(self, between: Callable[[], None]) -> None:
        """Verifies all that is kept, and says in the server's log what it found. between: called after each entry."""
        self._tried_ms = self._now_ms()
        settings = self._settings
        keys = key_paths(settings.data, settings.tlog_key, settings.witness_key)
        try:
            found = audit_whole(
                settings.data,
                keys,
                ParquetSegments(settings.data),
                self._clock,
                lambda done, total: between(),
            )
        except EvidenceError as error:
            log("audit.failed", level=logging.ERROR, reason=str(error))
            return
        for fault in found.faults[:FAULTS_TOLD]:
            log("audit.fault", level=logging.ERROR, where=fault.where, what=fault.what)
        log(
            "audit.done",
            level=logging.INFO if found.ok else logging.ERROR,
            faults=len(found.faults),
            entries=found.size,
            events=found.events,
            segments=found.segments,
            records=found.records,
            took_ms=self._now_ms() - self._tried_ms,
        )

    def _now_ms(self) -> int:
        return self._clock.unix_ns() // 1_000_000
