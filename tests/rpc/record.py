"""Records what a client sends: python -m tests.rpc.record SERVER FILE COMMAND..., where {address} stands for ours.

Writes the bytes of each connection that the command opens to FILE, FILE.1 and so on, as far as they are small.
"""

import asyncio
import sys
from pathlib import Path

# A corpus is mutated; what is long is mutated where nothing reads it.
MAX_BYTES = 8 << 10


async def record(server: str, file: Path, command: list[str]) -> int:
    """Runs the command against a proxy of `server`; returns its exit status."""
    host, _, port = server.rpartition(":")
    heard: list[bytearray] = []
    open_connections: set[asyncio.Task[None]] = set()

    async def forward(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray | None
    ) -> None:
        while data := await reader.read(1 << 16):
            if kept is not None:
                kept += data
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        heard.append(bytearray())
        kept = heard[-1]
        theirs, ours = await asyncio.open_connection(host, int(port))
        await asyncio.gather(
            forward(reader, ours, kept), forward(theirs, writer, None), return_exceptions=True
        )

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    ours = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(*(part.replace("{address}", ours) for part in command))
    status = await process.wait()
    await asyncio.gather(*open_connections)
    proxy.close()
    for number, data in enumerate(heard):
        name = file if not number else file.with_name(f"{file.name}.{number}")
        if len(data) <= MAX_BYTES:
            name.write_bytes(data)
        print(f"{name}: {len(data)} bytes{'' if len(data) <= MAX_BYTES else ', left out'}")
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(record(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])))
