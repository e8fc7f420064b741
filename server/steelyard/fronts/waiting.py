"""Bytes of answers that streams keep for their callers, where a front's library does not tell what it holds itself."""


class WaitingAnswers:
    """By caller's address, which is one connection's, and over all of them."""

    def __init__(self, connection_bytes: int, total_bytes: int) -> None:
        self._connection_bytes = connection_bytes
        self._total_bytes = total_bytes
        self._by_peer: dict[str, int] = {}
        self.total = 0

    def of(self, peer: str) -> int:
        """What waits for one caller."""
        return self._by_peer.get(peer, 0)

    def has_room(self, peer: str, size: int) -> bool:
        """Whether so many bytes more may wait for a caller: where nothing does, whenever all together have room."""
        waiting = self.of(peer)
        if waiting and waiting + size > self._connection_bytes:
            return False
        return not self.total or self.total + size <= self._total_bytes

    def no_room(self, peer: str, size: int) -> str:
        """What is said of an answer for which there is no room."""
        waiting, limit, name = self.of(peer), self._connection_bytes, "connection_send_bytes"
        if waiting + size <= limit:
            waiting, limit, name = self.total, self._total_bytes, "total_send_bytes"
        return f"the answer has {size} bytes, {waiting} wait already, and the limit is {limit} ({name})"

    def add(self, peer: str, count: int) -> None:
        """So many bytes wait for a caller, or no longer where `count` is under zero."""
        self.total += count
        left = self.of(peer) + count
        if left:
            self._by_peer[peer] = left
        else:
            self._by_peer.pop(peer, None)
