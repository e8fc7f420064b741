from typing import Any

import numpy as np

class Windows:
    def __init__(
        self,
        *,
        begin: int,
        middle: int,
        end: int,
        block: int,
        strip: bool,
        minimum: int,
        table: bytes,
        item_bytes: int,
    ) -> None: ...
    @property
    def tokens(self) -> int: ...
    def short(self, data: bytes | memoryview, rows: int) -> list[tuple[int, int]]: ...
    def fill(self, target: np.ndarray[Any, Any], data: bytes | memoryview) -> None: ...
