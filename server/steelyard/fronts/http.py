"""The HTTP port of the supervisor: metrics and health."""

import asyncio
import socket
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from steelyard.observe.collector import exposition


class HttpFront:
    """`/metrics`, `/v2/health/live` and `/v2/health/ready`."""

    def __init__(self, registry: CollectorRegistry, is_ready: Callable[[], bool]) -> None:
        self._registry = registry
        self._is_ready = is_ready
        application = web.Application()
        application.router.add_get("/", self._index)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/v2/health/live", self._live)
        application.router.add_get("/v2/health/ready", self._ready)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self, listener: socket.socket) -> None:
        """Serves on a bound socket."""
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        # Its connections inherit this, and then keep no later server from the port while they linger. Not before it
        # listens, when another server's bind would have succeeded.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    async def stop(self) -> None:
        """Closes the port and its connections."""
        await self._runner.cleanup()

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text="steelyard: /metrics /v2/health/live /v2/health/ready\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        # Off the loop: with a thousand models in use the page takes longer than a health probe may wait.
        page, content_type = await asyncio.get_running_loop().run_in_executor(
            None, exposition, self._registry, request.headers.get("Accept", "")
        )
        return web.Response(body=page, headers={"Content-Type": content_type})

    async def _live(self, request: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _ready(self, request: web.Request) -> web.Response:
        if self._is_ready():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="not ready\n")
