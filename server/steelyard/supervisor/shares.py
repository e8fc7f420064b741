"""What of a server's settings one of its workers gets: those that bound the whole server are divided."""

from typing import Any

from steelyard.config import Settings
from steelyard.runtime.threads import thread_budget

# Divided, and what one connection may have at the least: a share below it would refuse what a lone caller may send.
_DIVIDED = {
    "max_queue_bytes": None,
    "max_connections": None,
    "max_open_calls": None,
    "total_received_bytes": "connection_received_bytes",
    "total_send_bytes": "connection_send_bytes",
}


def share_of(settings: Settings, number: int) -> Settings:
    """The settings of worker `number`: bounds over all connections and models divided by the number of workers and
    rounded up, and threads dealt out, at least one to each."""
    workers = settings.workers
    if workers == 1:
        return settings
    threads = settings.threads or thread_budget()
    update: dict[str, Any] = {"threads": _dealt(threads, workers, number)}
    if settings.load_threads:
        update["load_threads"] = _dealt(settings.load_threads, workers, number)
    for name, least in _DIVIDED.items():
        share = -(-getattr(settings, name) // workers)
        update[name] = share if least is None else max(share, getattr(settings, least))
    return settings.model_copy(update=update)


def _dealt(whole: int, workers: int, number: int) -> int:
    """As many as the others have, or one more, at least one."""
    return max(1, whole // workers + (number < whole % workers))
