"""Payloads of requests on which a candidate disagreed with the version in production, kept by the shadow's process."""

import logging
from pathlib import Path

from steelyard.clock import SystemClock
from steelyard.errors import SteelyardError
from steelyard.evidence.masking import Masks
from steelyard.evidence.payload_files import PayloadWriter
from steelyard.models.evidence import Capture
from steelyard.observe.logs import log
from steelyard.rollout.frames import Asked
from steelyard.serving.payloads import About, payload_of
from steelyard.wire import decode_request, decode_response


class PayloadKeeping:
    """Writes what was asked and what the version in production answered; the first fault of the disk ends it."""

    def __init__(self, data: Path, origin: str, model: str, capture: Capture) -> None:
        """origin: this process, as it stands in the names of its files."""
        self._writer = PayloadWriter(data, origin, SystemClock())
        self._model = model
        self._capture = capture
        self._masks = Masks(capture.masks)
        self._ended = False

    def keep(self, asked: Asked) -> None:
        """Keeps one that the version in production answered."""
        if self._ended or asked.status:
            return
        try:
            said = decode_response(asked.answer)
            about = About(
                self._model,
                int(said.model_version),
                str(said.parameters["steelyard_model_digest"]),
                self._capture.max_bytes,
                self._masks,
            )
            payload = payload_of(
                about, asked.decision_id, decode_request(asked.body), asked.answer, ("disagreement",)
            )
            self._writer.append(payload)
        except (SteelyardError, ValueError, KeyError, OSError) as error:
            # What is counted stays true without it.
            log("shadow.payload_not_kept", level=logging.WARNING, reason=str(error))
            self._ended = isinstance(error, OSError)
