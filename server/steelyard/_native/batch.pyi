from collections.abc import Sequence
from typing import Any

from typing_extensions import Buffer

def gather(target: Buffer, requests: Sequence[Any], index: int, expected_bytes: int) -> None: ...
