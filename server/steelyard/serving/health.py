"""grpc.health.v1 for the server ("") and for each model by its name."""

import asyncio
from collections.abc import AsyncIterator

from steelyard.errors import ModelNotFound, Overloaded
from steelyard.serving.catalog import Catalog
from steelyard.serving.lifecycle import Lifecycle, Phase
from steelyard.serving.messages import parse
from steelyard.serving.methods import Context, Methods
from steelyard.wire.generated import health as pb
from steelyard.wire.refusals import shown

SERVING = pb.HealthCheckResponse.SERVING
NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN

# Watch calls stay open for good and cost a task each; a fleet's balancers hold a few.
MAX_WATCHERS = 1000


class Health:
    """Check and Watch over the catalog and the process's life."""

    def __init__(self, catalog: Catalog, lifecycle: Lifecycle) -> None:
        self._catalog = catalog
        self._lifecycle = lifecycle
        self._changed: set[asyncio.Event] = set()
        catalog.watch(lambda name: self._notify())
        lifecycle.watch(self._notify)

    def register(self, methods: Methods) -> None:
        """Puts the handlers into the table."""
        methods.unary["/grpc.health.v1.Health/Check"] = self._check
        methods.server_stream["/grpc.health.v1.Health/Watch"] = self._watch

    def status(self, service: str) -> pb.HealthCheckResponse.ServingStatus:
        """SERVING, NOT_SERVING or SERVICE_UNKNOWN, as things stand."""
        if not service:
            return SERVING if self._lifecycle.is_ready else NOT_SERVING
        if service not in self._catalog:
            return SERVICE_UNKNOWN if self._catalog.complete else NOT_SERVING
        return SERVING if self._lifecycle.is_ready and self._catalog.is_ready(service) else NOT_SERVING

    async def _check(self, body: bytes, context: Context) -> bytes:
        service = parse(pb.HealthCheckRequest, body).service
        status = self.status(service)
        if status == SERVICE_UNKNOWN:
            raise ModelNotFound(f"no model {shown(service)} in the repository")
        return _response(status)

    async def _watch(self, body: bytes, context: Context) -> AsyncIterator[bytes]:
        service = parse(pb.HealthCheckRequest, body).service
        if len(self._changed) >= MAX_WATCHERS:
            raise Overloaded(f"{MAX_WATCHERS} health watches are open already", retry_after_ms=10_000)
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            told = None
            # Where another process takes the place of this one, whoever watches asks that one.
            while self._lifecycle.phase not in (Phase.LEAVING, Phase.STOPPED):
                changed.clear()
                status = self.status(service)
                if status != told:
                    told = status
                    yield _response(status)
                else:
                    await changed.wait()
        finally:
            self._changed.discard(changed)

    def _notify(self) -> None:
        for changed in self._changed:
            changed.set()


def _response(status: pb.HealthCheckResponse.ServingStatus) -> bytes:
    body: bytes = pb.HealthCheckResponse(status=status).SerializeToString()
    return body
