"""How large a request may become by being prepared."""

from math import prod

from steelyard.errors import InvalidRequest

# A million empty files are four megabytes on the wire, and eight gigabytes as rows of 2,048 tokens. 256 MiB is some 400
# images of 224×224 as float32, or 32,768 such rows: far above what makes a good batch.
MAX_PREPARED_BYTES = 256 << 20


def check_prepared(source: str, shape: tuple[int, ...], item_bytes: int) -> None:
    """Raises InvalidRequest where a tensor of `shape` made from the input `source` has more than MAX_PREPARED_BYTES."""
    size = prod(shape) * item_bytes
    if size > MAX_PREPARED_BYTES:
        raise InvalidRequest(
            f"input '{source}': expected rows that make at most {MAX_PREPARED_BYTES} bytes, "
            f"{shape[0]} rows of {prod(shape[1:])} make {size}"
        )
