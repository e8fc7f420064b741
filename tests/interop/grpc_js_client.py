"""`@grpc/grpc-js` as a client: gRPC on Node.js' own HTTP/2, in a process that is told its calls line by line."""

import asyncio
import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

from tests.interop.outcome import Asked, Outcome

HERE = Path(__file__).parent / "node"
PACKAGES = Path(__file__).parents[2] / "build" / "interop"

# Longest line: an answer of some megabytes in base64.
MAX_LINE_BYTES = 64 << 20


async def install() -> Path:
    """The directory with the client and its packages; they are fetched by npm where they are not there."""
    PACKAGES.mkdir(parents=True, exist_ok=True)
    changed = False
    for name in ("package.json", "client.js"):
        content, copy = (HERE / name).read_bytes(), PACKAGES / name
        if not copy.exists() or copy.read_bytes() != content:
            copy.write_bytes(content)
            changed = changed or name == "package.json"
    if changed or not (PACKAGES / "node_modules" / "@grpc" / "grpc-js").is_dir():
        npm = await asyncio.create_subprocess_exec(
            "npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", cwd=PACKAGES
        )
        assert await npm.wait() == 0, "npm could not install @grpc/grpc-js"
    return PACKAGES


class GrpcJs:
    """A Node.js process with a channel for each encoding."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._process: asyncio.subprocess.Process | None = None

    async def call(self, asked: Asked) -> Outcome:
        if self._process is None:
            directory = await install()
            self._process = await asyncio.create_subprocess_exec(
                "node",
                "client.js",
                self._address,
                cwd=directory,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAX_LINE_BYTES,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = dataclasses.asdict(asked) | {
            "bodies": [_text(body) for body in asked.bodies],
            "metadata": [
                (key, value if isinstance(value, str) else _text(value)) for key, value in asked.metadata
            ],
        }
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), asked.timeout_s + 10)
        return _outcome(json.loads(line))

    async def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()


def _text(body: bytes) -> str:
    return base64.b64encode(body).decode()


def _outcome(told: dict[str, Any]) -> Outcome:
    trailing = {
        key: base64.b64decode(value) if key.endswith("-bin") else value for key, value in told["trailing"]
    }
    return Outcome(told["code"], told["message"], [base64.b64decode(b) for b in told["bodies"]], trailing)
