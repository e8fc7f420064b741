"""What magika's model is asked about a file: the windows of its beginning and end, as one row of tokens."""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from steelyard.errors import ConfigError

Row = npt.NDArray[np.int32]

MODEL_DIRECTORY = "models/standard_v3_3"
MODEL_FILE = f"{MODEL_DIRECTORY}/model.onnx"
CONFIG_FILE = f"{MODEL_DIRECTORY}/config.min.json"


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """How the model that the package ships wants its input, and what its answers are called."""

    begin_tokens: int
    end_tokens: int
    block_bytes: int
    """How much of a file is looked at from either end, before white space is stripped from it."""
    padding_token: int
    min_tokens: int
    """A file with fewer bytes, the leading white space aside, is not for the model."""
    labels: tuple[str, ...]
    """The classes of the output, in its order."""

    @classmethod
    def packaged(cls) -> Self:
        """From the configuration in the `magika` package. Raises ConfigError where this code does not fit it."""
        return cls.from_config(json.loads(resources.files("magika").joinpath(CONFIG_FILE).read_bytes()))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """From the keys of the configuration. Raises ConfigError for windows that this code cannot make."""
        if config["mid_size"] or config["use_inputs_at_offsets"]:
            raise ConfigError(
                f"magika: expected a model that looks at the beginning and the end of a file, got one with "
                f"mid_size = {config['mid_size']}, use_inputs_at_offsets = {config['use_inputs_at_offsets']}"
            )
        return cls(
            begin_tokens=config["beg_size"],
            end_tokens=config["end_size"],
            block_bytes=config["block_size"],
            padding_token=config["padding_token"],
            min_tokens=config["min_file_size_for_dl"],
            labels=tuple(config["target_labels_space"]),
        )

    @property
    def tokens(self) -> int:
        """The length of a row."""
        return self.begin_tokens + self.end_tokens


def extract(spec: FeatureSpec, content: bytes) -> Row | None:
    """The row for a file's whole content: int32[spec.tokens]; None where it is too small to ask the model.

    The first window is stripped of white space on its left and padded on its right, the last one the other way
    round, so that what is next to the file's ends is at the row's ends.
    """
    if len(content) < spec.min_tokens:
        return None
    begin = content[: spec.block_bytes].lstrip()[: spec.begin_tokens]
    if len(begin) < spec.min_tokens:
        return None
    end = content[-spec.block_bytes :].rstrip()[-spec.end_tokens :]
    row = np.full(spec.tokens, spec.padding_token, dtype=np.int32)
    row[: len(begin)] = np.frombuffer(begin, dtype=np.uint8)
    if end:
        row[-len(end) :] = np.frombuffer(end, dtype=np.uint8)
    return row
