"""The plain twin of `steelyard._native.decision`: the same seed gives the same ids."""

import uuid

SEED_BYTES = 32
MAX_IDS = 1 << 20
TIME_END = 1 << 48
COUNTER_END = 1 << 12
COUNTER_START_MASK = 0x7FF
MASK = (1 << 64) - 1


class IdSource:
    """UUIDv7 ids (RFC 9562, section 6.2, method 1) from one 32-byte seed, over xoshiro256++."""

    def __init__(self, seed: bytes) -> None:
        self._last_ms = -1
        self._counter = 0
        self.reseed(seed)

    def reseed(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES or not any(seed):
            raise ValueError(f"a seed is {SEED_BYTES} bytes, not all zero; got {len(seed)} bytes")
        self._state = [int.from_bytes(seed[i : i + 8], "little") for i in range(0, SEED_BYTES, 8)]

    def new_ids(self, n: int, unix_ms: int) -> list[str]:
        if not 0 <= n <= MAX_IDS:
            raise ValueError(f"ids are made 0..{MAX_IDS} at a time, got {n}")
        if not 0 <= unix_ms < TIME_END:
            raise ValueError(f"a time in an id is 0..{TIME_END - 1} ms, got {unix_ms}")
        return [self._new_id(unix_ms) for _ in range(n)]

    def _new_id(self, unix_ms: int) -> str:
        random = self._next()
        self._counter += 1
        if unix_ms > self._last_ms or self._counter >= COUNTER_END:
            if max(unix_ms, self._last_ms + 1) >= TIME_END:
                raise OverflowError("the 48 bits of an id's time are used up")
            self._last_ms = max(unix_ms, self._last_ms + 1)
            self._counter = random >> 53 & COUNTER_START_MASK
            random = self._next()
        fields = self._last_ms << 80 | 7 << 76 | self._counter << 64 | 0b10 << 62 | random >> 2
        return str(uuid.UUID(int=fields))

    def _next(self) -> int:
        a, b, c, d = self._state
        result = _rotate((a + d) & MASK, 23) + a & MASK
        c ^= a
        d ^= b
        self._state = [a ^ d, b ^ c, c ^ (b << 17 & MASK), _rotate(d, 45)]
        return result


def _rotate(x: int, k: int) -> int:
    return (x << k | x >> (64 - k)) & MASK
