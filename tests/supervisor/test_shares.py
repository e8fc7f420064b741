"""What each of several workers gets of what is set for the server."""

from hypothesis import given
from hypothesis import strategies as st

from steelyard.config import Settings, resolve
from steelyard.supervisor.shares import share_of

WHOLE = ("max_connections", "max_open_calls", "max_queue_bytes")


def test_one_worker_gets_what_is_set() -> None:
    settings = Settings(threads=3)
    assert share_of(settings, 0) is settings


@given(st.integers(2, 64), st.integers(1, 256), st.integers(1, 100_000))
def test_shares_add_up_to_the_whole_and_no_more_than_rounding(
    workers: int, threads: int, connections: int
) -> None:
    settings = Settings(workers=workers, threads=threads, load_threads=threads, max_connections=connections)
    shares = [share_of(settings, number) for number in range(workers)]
    assert sum(share.threads for share in shares) == max(threads, workers)
    assert sum(share.load_threads for share in shares) == max(threads, workers)
    assert max(share.threads for share in shares) - min(share.threads for share in shares) <= 1
    for name in WHOLE:
        whole = sum(getattr(share, name) for share in shares)
        assert getattr(settings, name) <= whole < getattr(settings, name) + workers


def test_a_share_has_room_for_what_one_connection_may_send() -> None:
    settings = resolve({"workers": 64}, {}).settings
    share = share_of(settings, 63)
    assert share.total_received_bytes == settings.connection_received_bytes
    assert share.total_send_bytes == settings.connection_send_bytes
    assert share.threads >= 1
    assert share.load_threads == 0
