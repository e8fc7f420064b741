"""The gRPC front that is our own: `rpc` on asyncio's transports."""
