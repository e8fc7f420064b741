"""XXH64, the hash of the `hash` step, after the xxHash specification 0.1.1."""

_MASK = (1 << 64) - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _rotate(x: int, by: int) -> int:
    x &= _MASK
    return (x << by | x >> (64 - by)) & _MASK


def _round(lane: int, value: int) -> int:
    return _rotate(lane + value * _P2, 31) * _P1 & _MASK


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64 of `data`; `seed` below 2**64."""
    at = 0
    if len(data) >= 32:
        lanes = [seed + _P1 + _P2, seed + _P2, seed, seed - _P1]
        while len(data) - at >= 32:
            lanes = [
                _round(lane, int.from_bytes(data[at + 8 * i : at + 8 * i + 8], "little"))
                for i, lane in enumerate(lanes)
            ]
            at += 32
        result = sum(_rotate(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            result = ((result ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        result = seed + _P5
    result = (result + len(data)) & _MASK
    while len(data) - at >= 8:
        result ^= _round(0, int.from_bytes(data[at : at + 8], "little"))
        result = (_rotate(result, 27) * _P1 + _P4) & _MASK
        at += 8
    if len(data) - at >= 4:
        result ^= int.from_bytes(data[at : at + 4], "little") * _P1 & _MASK
        result = (_rotate(result, 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        result = _rotate(result ^ byte * _P5, 11) * _P1 & _MASK
    result = (result ^ result >> 33) * _P2 & _MASK
    result = (result ^ result >> 29) * _P3 & _MASK
    return result ^ result >> 32
