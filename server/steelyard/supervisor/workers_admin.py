"""The admin service's part about worker processes."""

from typing import Any

from steelyard.serving.messages import serialized
from steelyard.serving.methods import Methods
from steelyard.supervisor.workers import Workers
from steelyard.wire.admin import SERVICE
from steelyard.wire.generated import admin as pb


class WorkersAdmin:
    """The handler that replaces the workers."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def register(self, methods: Methods) -> None:
        """Puts the handler into the table."""
        methods.unary[SERVICE + "RestartWorkers"] = serialized(pb.RestartWorkersRequest, self._restart)

    async def _restart(self, request: Any) -> Any:
        replaced = await self._workers.restart(request.actor)
        return pb.RestartWorkersResponse(
            replaced=[
                pb.ReplacedWorker(
                    worker=one.worker,
                    before_pid=one.before_pid,
                    pid=one.pid,
                    took_ms=round(one.took_s * 1000),
                )
                for one in replaced
            ]
        )
