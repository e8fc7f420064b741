"""docs/pipelines.md names every step and every option, and its example is one that compiles."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.models.version_manifest import VersionManifest
from steelyard.pipelines.bytes.frames import FramesStep
from steelyard.pipelines.bytes.windows import WindowsStep
from steelyard.pipelines.compile import compile_pipeline
from steelyard.pipelines.image.step import ImageStep
from steelyard.pipelines.outputs.declaration import (
    ArgMax,
    Boxes,
    Cast,
    Ctc,
    Normalise,
    Pool,
    Rename,
    Select,
    Sigmoid,
    Softmax,
    Threshold,
    TopK,
)
from steelyard.pipelines.tabular.step import TableStep
from steelyard.pipelines.text.declaration import TokenizeStep

PAGE = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text(encoding="utf-8")
STEPS: list[type[BaseModel]] = [
    *(WindowsStep, FramesStep, ImageStep, TokenizeStep, TableStep),
    *(Softmax, Sigmoid, TopK, ArgMax, Select, Ctc, Threshold, Rename, Pool, Normalise, Cast, Boxes),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_every_option_is_there_and_no_other(step: type[BaseModel]) -> None:
    (name,) = step.model_fields["step"].annotation.__args__  # type: ignore[union-attr]
    section = re.split(r"\n#{2,3} ", PAGE.split(f"\n### `{name}`\n")[1])[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(step.model_fields) - {"step"}


def test_the_example_compiles(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("".join(f"class {n}\n" for n in range(10)))
    example = re.findall(r"```toml version.toml\n(.*?)```", PAGE, re.DOTALL)[0]
    manifest = VersionManifest.model_validate(tomllib.loads(example))
    model = ModelSpec(
        (TensorSpec("x", "FP32", (-1, 3, 224, 224)),), (TensorSpec("logits", "FP32", (-1, 10)),), True
    )
    plan = compile_pipeline(manifest, model, tmp_path)
    assert plan is not None
    assert [tensor.name for tensor in plan.offered.outputs] == ["score", "kind"]
