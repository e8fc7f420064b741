"""Which decisions are sampled: a pure function of decision id and share, the same in every process."""

# The last 12 hex digits of a UUIDv7, all of them random (RFC 9562, section 5.7): a share is met to one in 2**48.
_DIGITS = 12
_BITS = 4 * _DIGITS
_START = 36 - _DIGITS


class Sampler:
    """Takes a share of decisions; what is taken at one share is taken at every larger one."""

    __slots__ = ("_below", "share")

    def __init__(self, share: float) -> None:
        """Raises ValueError where `share` is not in [0, 1]."""
        if not 0 <= share <= 1:
            raise ValueError(f"expected a share from 0 to 1, got {share}")
        self.share = share
        below = round(share * (1 << _BITS))
        # Digits of one length are ordered as their numbers are, and "g" follows all of them.
        self._below = f"{below:0{_DIGITS}x}" if below < 1 << _BITS else "g"

    def takes(self, decision_id: str) -> bool:
        """Whether the decision of this id (a UUIDv7 in its usual form of 36 characters) is sampled."""
        return decision_id[_START:] < self._below
