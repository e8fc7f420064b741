"""Bytes that calls hold; the twin of the native ledger."""


class Ledger:
    """Counts of one connection, or of all; every change of a connection's is one of its whole's."""

    __slots__ = ("calls", "incoming", "outgoing", "whole", "working")

    def __init__(self, whole: "Ledger | None" = None) -> None:
        self.whole = whole
        self.incoming = 0
        """Of messages that are not complete."""
        self.working = 0
        """Of complete messages whose calls have not ended, or that a stream's handler has not read."""
        self.outgoing = 0
        """Of answers that the peer has not taken."""
        self.calls = 0
        """Those that are open; no bytes."""

    @property
    def received(self) -> int:
        """Bytes of requests, complete or not."""
        return self.incoming + self.working

    def arrive(self, count: int) -> None:
        """So much of an incomplete message came."""
        self.incoming += count
        if self.whole is not None:
            self.whole.arrive(count)

    def work(self, count: int) -> None:
        """A message of so many bytes is worked on, or no longer where `count` is under zero."""
        self.working += count
        if self.whole is not None:
            self.whole.work(count)

    def wait(self, count: int) -> None:
        """So many bytes of answers wait, or no longer where `count` is under zero."""
        self.outgoing += count
        if self.whole is not None:
            self.whole.wait(count)

    def open(self, count: int) -> None:
        """So many calls were begun, or are over where `count` is under zero."""
        self.calls += count
        if self.whole is not None:
            self.whole.open(count)
