"""Steps that leave out what they work with take it from the version's profile.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.errors import ManifestError
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.models.version_manifest import VersionManifest
from steelyard.pipelines.compile import compile_pipeline
from steelyard.wire import decode_request, encode_bytes_tensor
from steelyard.wire.generated import grpc_service as pb
from tests.support.profiles import integers, numbers, profile, texts

KINDS = {"delay": "number", "hour": "integer", "carrier": "text", "late": "boolean", "id": "text"}
COLUMNS = [
    numbers("delay", -2.0, 0.0, 0.0, 10.0),
    integers("hour", 5, 6, 6, 9),
    texts("carrier", "UA", "AA", "UA", "B6"),
    texts("late", True, False, True, True),
    texts("id", "x1", "x1", rest=2000),
]


def made(directory: Path, column: str, *steps: dict[str, Any], row: dict[str, Any] | None = None) -> Any:
    """What the version in `directory` makes of one row, whose values are missing unless given."""
    feature = {"column": column, "steps": list(steps)}
    table = {
        "step": "table",
        "rows": "json",
        "column": [{"name": name, "kind": kind} for name, kind in KINDS.items()],
        "tensor": [{"name": "x", "datatype": "FP64", "feature": [feature]}],
    }
    manifest = VersionManifest.model_validate({"input": [{"name": "rows", "steps": [table]}]})
    model = ModelSpec((TensorSpec("x", "FP64", (-1, -1)),), (TensorSpec("y", "FP64", (-1, 1)),), True)
    plan = compile_pipeline(manifest, model, directory)
    assert plan is not None
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="rows", datatype="BYTES", shape=(1,))
    values = dict.fromkeys(KINDS) | (row or {})
    message.raw_input_contents.append(encode_bytes_tensor([json.dumps(values).encode()]))
    (filled,) = plan.prepare(decode_request(message.SerializeToString()), 1, plan.tally()).inputs
    out = np.empty(filled.shape)
    filled.fill(out)
    return out[0].tolist()


@pytest.fixture
def version(tmp_path: Path) -> Path:
    (tmp_path / "profile.json").write_text(json.dumps(profile(*COLUMNS)))
    return tmp_path


@pytest.mark.parametrize(
    ("column", "strategy", "value"),
    [
        ("delay", "mean", 2.0),
        ("delay", "median", 0.0),
        ("delay", "mode", 0.0),
        ("hour", "median", 6.0),
        ("hour", "mode", 6.0),
        ("late", "mode", 1.0),
    ],
)
def test_missing_values_become_those_of_the_profile(
    version: Path, column: str, strategy: str, value: float
) -> None:
    assert made(version, column, {"step": "impute", "strategy": strategy}) == [value]


def test_what_is_given_is_not_taken_from_the_profile(version: Path) -> None:
    assert made(version, "delay", {"step": "impute", "strategy": "mean", "value": 7.0}) == [7.0]


def test_scales(version: Path) -> None:
    row = {"delay": 10.0}
    assert made(version, "delay", {"step": "scale"}, row=row) == [(10.0 - 2.0) / np.std([-2, 0, 0, 10])]
    assert made(version, "delay", {"step": "scale", "method": "minmax"}, row=row) == pytest.approx([1.0])


def test_categories_are_in_ascending_order(version: Path) -> None:
    # AA, B6, UA: the order of encoders that were fitted on the data.
    assert made(version, "carrier", {"step": "onehot"}, row={"carrier": "UA"}) == [0, 0, 1]
    assert made(version, "carrier", {"step": "vocabulary"}, row={"carrier": "B6"}) == [1]
    assert made(version, "hour", {"step": "onehot"}, row={"hour": 9}) == [0, 0, 1]
    assert made(version, "late", {"step": "onehot"}, row={"late": False}) == [1, 0]
    assert made(version, "carrier", {"step": "impute", "strategy": "mode"}, {"step": "onehot"}, row={}) == [
        0,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("column", "step", "said"),
    [
        (
            "carrier",
            {"step": "impute", "strategy": "mean"},
            "step 1 (impute): mean: not given, and the profile has none",
        ),
        ("delay", {"step": "onehot"}, "step 1 (onehot): categories: not given, and the profile has none"),
        (
            "id",
            {"step": "vocabulary"},
            "step 1 (vocabulary): categories: not given, and the profile has none",
        ),
    ],
)
def test_what_the_profile_does_not_have_is_named(
    version: Path, column: str, step: dict[str, Any], said: str
) -> None:
    with pytest.raises(ManifestError) as raised:
        made(version, column, step)
    assert said in str(raised.value)
    assert f"('{column}')" in str(raised.value)


def test_without_a_profile_the_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"feature 1 \('delay'\), step 1 \(scale\): mean: not given"):
        made(tmp_path, "delay", {"step": "scale"})


def test_a_profile_that_cannot_be_read_is_no_profile_at_all(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text("junk")
    with pytest.raises(ManifestError, match=r"profile\.json"):
        made(tmp_path, "delay", {"step": "impute", "value": 0.0})
