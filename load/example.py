"""The example's server: `steelyard serve` over the model `tiny`, as the benchmarks have it."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from load.extras import extra

SCENARIO = Path(__file__).with_name("scenarios") / "example.toml"


@contextlib.contextmanager
def example_server() -> Iterator[Path]:
    """A server that is up; gives its data directory."""
    extra("onnx", "onnx", "the example's model")
    from benchmarks.processes import steelyard
    from benchmarks.tiny import save_tiny

    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        save_tiny(repository)
        with steelyard(repository) as server:
            yield server.data
