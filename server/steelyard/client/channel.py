"""How a channel of grpcio's is set up, where one is still used: for the admin service, and for candidates elsewhere."""

# The server's own default; not taken from its settings, because to import those costs half as much as this package.
DEFAULT_MAX_MESSAGE_BYTES = 64 << 20


def channel_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Options for a channel whose messages have at most `max_message_bytes`, either way."""
    return [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        # The server's pushback is what retries obey, in one place: see `retry`.
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        # Else every client of one address in the process shares one connection, and its back-off.
        ("grpc.use_local_subchannel_pool", 1),
        # A server that restarts is back in a second or so; gRPC's own back-off would wait up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
