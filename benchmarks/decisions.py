"""Decisions as a server makes them, by the million: canonical records, made in columns."""

import numpy as np

from steelyard.evidence.batch import HEAD_TYPE, Records
from steelyard.evidence.record import HEAD, Flag

MODEL = "prices"
PER_BATCH = 8
START_NS = 1_790_000_000 * 10**9


def made(
    count: int, seed: int, start_ns: int, spread_ns: int, request_ids: str = "", traced: bool = False
) -> Records:
    """So many records over so much time, batch by batch as a journal has them.

    request_ids: "" none, "counted" or "random", of 36 characters.
    """
    rng = np.random.default_rng(seed)
    batches = -(-count // PER_BATCH)
    batch = np.repeat(np.arange(1, batches + 1), PER_BATCH)[:count]
    ended = np.repeat(np.sort(rng.integers(0, spread_ns, batches)), PER_BATCH)[:count]
    heads = np.zeros(count, HEAD_TYPE)
    heads["format"] = 1
    heads["reason"] = 255
    heads["batch"] = batch
    heads["position"] = np.arange(count) % PER_BATCH
    heads["batch_requests"] = heads["batch_rows"] = PER_BATCH
    heads["rows"] = 1
    heads["version"] = 3
    heads["sample_rate"] = 1.0
    heads["decode_ns"] = rng.normal(1500, 300, count).clip(200)
    heads["queue_ns"] = rng.lognormal(11.5, 0.6, count)
    for name, centre in (("assemble_ns", 8.0), ("execute_ns", 11.0), ("encode_ns", 8.5)):
        each = rng.lognormal(centre, 0.3, batches).astype(np.int64)
        heads[name] = np.repeat(each, PER_BATCH)[:count]
    stages = ("decode_ns", "queue_ns", "assemble_ns", "execute_ns", "encode_ns")
    heads["total_ns"] = sum(heads[name] for name in stages) + rng.integers(500, 3000, count).astype(np.uint64)
    heads["received"] = start_ns + ended - heads["total_ns"].astype(np.int64)
    heads["decision_id"] = _ids(heads["received"], rng).view("V16").reshape(-1)
    # One in a hundred thousand took long.
    slow = rng.random(count) < 1e-5
    heads["total_ns"][slow] = 60_000_000
    heads["digest"] = np.frombuffer(bytes(range(32)), "V32")[0]
    heads["flags"] = Flag.TRACE if traced else 0
    return _records(heads, rng, request_ids, traced)


def _ids(received: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """UUIDv7 as the server makes them: milliseconds, a counter, and 62 random bits."""
    count = len(received)
    milliseconds = received.astype(np.uint64) // 1_000_000
    order = np.argsort(received, kind="stable")
    counter = np.zeros(count, np.uint64)
    first = np.r_[True, np.diff(milliseconds[order]) != 0]
    runs = np.arange(count) - np.maximum.accumulate(np.where(first, np.arange(count), 0))
    counter[order] = (rng.integers(0, 1024, count)[np.cumsum(first) - 1] + runs) % 4096
    upper = milliseconds << np.uint64(16) | np.uint64(7 << 12) | counter
    lower = rng.integers(0, 1 << 62, count).astype(np.uint64) | np.uint64(1 << 63)
    return np.ascontiguousarray(np.stack([upper, lower], axis=1).astype(">u8")).view(np.uint8)


def _records(heads: np.ndarray, rng: np.random.Generator, request_ids: str, traced: bool) -> Records:
    count = len(heads)
    parts = [heads.view(np.uint8).reshape(count, HEAD.size)]
    if traced:
        parts.append(rng.integers(0, 256, (count, 16)).astype(np.uint8))
    name = MODEL.encode()
    heads["model_length"] = len(name)
    parts.append(np.broadcast_to(np.frombuffer(name, np.uint8), (count, len(name))))
    if request_ids:
        heads["request_id_length"] = 36
        if request_ids == "counted":
            texts = np.char.mod("order-%030d", np.arange(count)).astype("S36")
        else:
            digits = np.frombuffer(b"0123456789abcdef", np.uint8)
            texts = digits[rng.integers(0, 16, (count, 36))].view("S36").reshape(-1)
        parts.append(texts.view(np.uint8).reshape(count, 36))
    data = np.ascontiguousarray(np.concatenate(parts, axis=1))
    length = data.shape[1]
    return Records(
        data.reshape(-1), np.arange(count, dtype=np.int64) * length, np.full(count, length, np.int64)
    )
