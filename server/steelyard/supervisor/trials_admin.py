"""The admin service's part about what runs beside a version in production."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError

from steelyard.errors import InvalidRequest
from steelyard.serving.messages import serialized
from steelyard.serving.methods import Methods
from steelyard.shadow.task import RemoteTarget
from steelyard.supervisor.acting import named
from steelyard.supervisor.admin import check_model, event_message
from steelyard.supervisor.calibrations import Calibrations
from steelyard.supervisor.canaries import Canaries
from steelyard.supervisor.shadows import Shadows
from steelyard.toml import describe_problems
from steelyard.wire.admin import SERVICE
from steelyard.wire.generated import admin as pb

# A calibration that its caller says nothing about.
CALIBRATED_REQUESTS = 200
CALIBRATED_MS = 60_000
MAX_CALIBRATED = 1_000_000
MAX_CALIBRATED_MS = 86_400_000


class TrialsAdmin:
    """Handlers over canaries, shadows and calibrations."""

    def __init__(self, canaries: Canaries, shadows: Shadows, calibrations: Calibrations) -> None:
        self._canaries = canaries
        self._shadows = shadows
        self._calibrations = calibrations

    def register(self, methods: Methods) -> None:
        """Puts the handlers into the table."""
        handlers: dict[str, tuple[Any, Callable[[Any], Awaitable[Any]]]] = {
            "StartCanary": (pb.StartCanaryRequest, self._start_canary),
            "StopCanary": (pb.StopCanaryRequest, self._stop_canary),
            "PromoteCanary": (pb.StopCanaryRequest, self._promote_canary),
            "StartShadow": (pb.StartShadowRequest, self._start_shadow),
            "StopShadow": (pb.StopShadowRequest, self._stop_shadow),
            "Calibrate": (pb.CalibrateRequest, self._calibrate),
            "GetTrials": (pb.GetTrialsRequest, self._get_trials),
        }
        for name, (message, handle) in handlers.items():
            methods.unary[SERVICE + name] = serialized(message, handle)

    async def _start_canary(self, request: Any) -> Any:
        who = request.who
        started = self._canaries.start(
            request.model, request.candidate, list(request.shares), named(who.actor), who.reason
        )
        return event_message(await started)

    async def _stop_canary(self, request: Any) -> Any:
        who = request.who
        return event_message(await self._canaries.stop(request.model, named(who.actor), who.reason))

    async def _promote_canary(self, request: Any) -> Any:
        who = request.who
        return event_message(await self._canaries.promote(request.model, named(who.actor), who.reason))

    async def _start_shadow(self, request: Any) -> Any:
        check_model(request.model)
        who = request.who
        candidate: str | RemoteTarget = request.version
        if request.WhichOneof("candidate") == "remote":
            candidate = _remote(request.remote, request.model)
        started = self._shadows.start(request.model, candidate, request.sample, named(who.actor), who.reason)
        return event_message(await started)

    async def _stop_shadow(self, request: Any) -> Any:
        check_model(request.model)
        who = request.who
        stopped = self._shadows.stop(request.model, request.candidate, named(who.actor), who.reason)
        return event_message(await stopped)

    async def _calibrate(self, request: Any) -> Any:
        check_model(request.model)
        requests = request.requests or CALIBRATED_REQUESTS
        timeout_ms = request.timeout_ms or CALIBRATED_MS
        if not 0 < requests <= MAX_CALIBRATED or not 0 < timeout_ms <= MAX_CALIBRATED_MS:
            raise InvalidRequest(
                f"expected 1 to {MAX_CALIBRATED} requests within {MAX_CALIBRATED_MS} ms, came {requests} "
                f"within {timeout_ms}"
            )
        who = request.who
        found = self._calibrations.calibrate(
            request.model, requests, timeout_ms / 1000, named(who.actor), who.reason
        )
        return event_message(await found)

    async def _get_trials(self, request: Any) -> Any:
        check_model(request.model)
        status = {
            "canary": self._canaries.status(request.model),
            "shadows": await self._shadows.status(request.model),
            "last_shadow": await self._shadows.last_ended(request.model),
        }
        return pb.Trials(status=json.dumps(status))


def _remote(message: Any, model: str) -> RemoteTarget:
    """A candidate on another server. Raises InvalidRequest for what cannot be one."""
    given = {field.name: value for field, value in message.ListFields()}
    try:
        return RemoteTarget.model_validate({"model": model, **given})
    except ValidationError as error:
        raise InvalidRequest(f"remote: {'; '.join(describe_problems(error, RemoteTarget))}") from None
