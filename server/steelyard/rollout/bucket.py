"""Where a key falls between 0 and 1: the same for the same rollout, whoever asks."""

import hashlib

# What a caller names to be told from others, as a parameter of the request: who gets which arm of a canary, and whose
# payloads are erased.
KEY_PARAMETER = "steelyard_key"


def bucket(number: int, key: str) -> float:
    """The place of `key` in the rollout `number`, from 0 to below 1, as even as a hash is.

    A candidate with a share gets the keys that fall below it: who is in at 5 % is in at 25 %. Another rollout
    shuffles anew, so that the same callers are not always the first.
    """
    digest = hashlib.blake2b(
        key.encode("utf-8", "surrogatepass"), digest_size=8, key=number.to_bytes(8, "big")
    ).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)
