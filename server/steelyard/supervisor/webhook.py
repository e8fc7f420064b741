"""Retirements and their warnings, posted as JSON to where the settings say."""

import asyncio
import json
import logging
from collections import Counter, deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from steelyard.evidence.event import Event
from steelyard.evidence.retirement import (
    ANNOUNCED,
    ARCHIVED,
    CANCELLED,
    COMPLETED,
    EXTENDED,
    REACHED,
    WARNED,
)
from steelyard.observe.logs import log

if TYPE_CHECKING:
    import aiohttp

# What an owner has to hear of; a day that is set in model.toml is nothing that happens.
POSTED = (WARNED, REACHED, EXTENDED, ANNOUNCED, CANCELLED, COMPLETED, ARCHIVED)

# Retirements come some a day; a receiver that is away for long loses the oldest, which the event log still has.
MAX_WAITING = 256

# A receiver is expected to take a message, not to work on it.
TIMEOUT_S = 10.0

# Seconds before each further try: a receiver that restarts is there again.
PAUSES_S = (1.0, 10.0, 60.0)


class Webhook:
    """Posts one event after the other, beside everything else; answers of 200 to 299 count as taken."""

    def __init__(self, url: str | None) -> None:
        """url: None: nothing is posted."""
        self.url = url
        self._waiting: deque[Event] = deque()
        self._come = asyncio.Event()
        self.counts: Counter[str] = Counter()
        """Events by what became of them: taken, failed, dropped."""

    def hear(self, event: Event) -> None:
        """Takes an event; most are of no interest to it."""
        if self.url is None or event.kind not in POSTED:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.counts["dropped"] += 1
        self._waiting.append(event)
        self._come.set()

    async def run(self) -> None:
        """Posts what comes, for ever."""
        if self.url is None:
            return
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._come.wait()
                self._come.clear()
                while self._waiting:
                    await self._deliver(session, self.url, self._waiting.popleft())

    async def _deliver(self, session: "aiohttp.ClientSession", url: str, event: Event) -> None:
        import aiohttp

        problem = ""
        for pause_s in (0.0, *PAUSES_S):
            await asyncio.sleep(pause_s)
            try:
                body = json.dumps(_document(event)).encode()
                headers = {"Content-Type": "application/json"}
                async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                    if 200 <= answer.status < 300:
                        self.counts["taken"] += 1
                        return
                    problem = f"status {answer.status}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                # Its text may hold the URL.
                problem = type(error).__name__
        self.counts["failed"] += 1
        # The URL may hold a secret.
        host = urlsplit(url).hostname
        log("webhook.failed", level=logging.ERROR, host=host, sequence=event.sequence, reason=problem[:300])


def _document(event: Event) -> dict[str, object]:
    return {
        "sequence": event.sequence,
        "time": event.time,
        "kind": event.kind,
        "model": event.model,
        "actor": event.actor,
        "reason": event.reason,
        "digest": event.digest,
        "details": event.details,
    }
