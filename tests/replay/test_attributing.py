"""An answer divided among the columns that callers sent, through the whole way of a request."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from steelyard.errors import InvalidRequest
from steelyard.models.manifest import ModelManifest
from steelyard.replay.attributing import attribute, render
from steelyard.replay.version import ReplayVersion, load
from steelyard.wire import encode_bytes_tensor, encode_request
from tests.support import models, profiles

TABLE = """
[[input]]
name = "rows"

[[input.steps]]
step = "table"
rows = "json"

[[input.steps.column]]
name = "age"
kind = "number"

[[input.steps.column]]
name = "country"
kind = "text"

[[input.steps.tensor]]
name = "x"

[[input.steps.tensor.feature]]
column = "age"
steps = [{ step = "impute", value = 0.0 }]

[[input.steps.tensor.feature]]
column = "country"
steps = [{ step = "vocabulary", categories = ["AT", "BE"] }]
"""

# y = 2 * age + 10 * country
WEIGHTS = np.array([[2.0], [10.0]], np.float32)


def linear(weights: np.ndarray = WEIGHTS) -> bytes:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    width, outputs = weights.shape
    inputs = [models.value("x", "FP32", ("batch", width))]
    return models.model([node], inputs, [models.value("y", "FP32", ("batch", outputs))], {"w": weights})


def version(tmp_path: Path, content: bytes, about: str, *columns: dict[str, Any]) -> ReplayVersion:
    path = models.put(tmp_path, "m", content, about=about)
    if columns:
        (path / "profile.json").write_text(json.dumps(profiles.profile(*columns)))
    return load("m", path, "version 1", ModelManifest(), 1)


def rows(*given: dict[str, Any]) -> bytes:
    data = encode_bytes_tensor([json.dumps(one).encode() for one in given])
    return encode_request("m", "", "", {}, [("rows", "BYTES", (len(given),), data)], [])


def test_columns_of_json_rows(tmp_path: Path) -> None:
    age, country = profiles.numbers("age", *range(20, 60)), profiles.texts("country", "AT", "BE")
    on = version(tmp_path, linear(), TABLE, age | {"missing": 1, "missing_share": 0.1}, country)
    body = rows({"age": 25, "country": "AT"}, {"age": 50, "country": "BE"})
    found = attribute(on, body, row=1, draws=2000)
    assert (found.output, found.attribution.value) == ("y", pytest.approx(110))
    by_name = {share.name: share for share in found.attribution.shares}
    # Where it is missing, 0 is put in.
    assert by_name["age"].contribution == pytest.approx(2 * (50 - 0.9 * 39.5), abs=5 * by_name["age"].error)
    assert by_name["country"].contribution == pytest.approx(5, abs=5 * by_name["country"].error)
    assert abs(found.attribution.gap) < 5 * found.attribution.base_error + 1
    lines = render(found)
    assert lines[0].startswith("y = 110, ")
    assert "an approximation: Shapley values over all subsets, 2000 rows of background" in lines[1]
    assert lines[2].startswith("  age ")
    occluded = attribute(on, body, row=1, method="occlusion").attribution
    assert [share.contribution for share in occluded.shares] == pytest.approx([2 * (50 - 39.5), 10])
    assert occluded.gap == pytest.approx(0, abs=1e-4)


def test_one_tensor_of_many_numbers_is_explained_by_permutations(tmp_path: Path) -> None:
    weights = np.zeros((12, 2), np.float32)
    weights[3, 1] = 4
    columns = [profiles.numbers(f"c{place}", *range(3)) for place in range(12)]
    on = version(tmp_path, linear(weights), "", *columns)
    x = np.zeros((1, 12), np.float32)
    x[0, 3] = 10
    body = encode_request("m", "", "", {}, [("x", "FP32", (1, 12), x.tobytes())], [])
    found = attribute(on, body)
    assert (found.output, found.attribution.method) == ("y[1]", "permutation")
    shares = found.attribution.shares
    assert shares[3].contribution == pytest.approx(40 - 4, abs=5 * shares[3].error)
    assert all(share.contribution == pytest.approx(0, abs=1e-5) for share in shares if share.name != "c3")
    assert attribute(on, body) == found
    assert attribute(on, body, index=0).attribution.value == 0


def test_a_tensor_a_column_and_what_the_profile_does_not_know(tmp_path: Path) -> None:
    on = version(tmp_path, models.two_columns(), "", profiles.numbers("a", 1, 2, 3))
    one = np.ones((1, 1), np.float32).tobytes()
    body = encode_request("m", "", "", {}, [("a", "FP32", (1, 1), one), ("b", "FP32", (1, 1), one)], [])
    found = attribute(on, body)
    assert [share.name for share in found.attribution.shares] == ["a"]
    assert found.kept == ("b",)
    assert render(found)[-1].endswith("as the profile does not know them: b")


@pytest.mark.parametrize(
    ("columns", "body", "row", "said"),
    [
        ([], rows({"age": 1}), 0, "has no profile.json"),
        ([profiles.numbers("age", 1, 2)], rows({"age": 1, "country": "AT"}), 3, "none that is 3"),
        ([profiles.numbers("age", 1, 2)], rows({"age": 1, "country": 7}), 0, "does not answer the row"),
        (
            [profiles.numbers("height", 1, 2)],
            rows({"age": 1, "country": "AT"}),
            0,
            "that the training profile knows",
        ),
    ],
)
def test_what_cannot_be_explained(
    tmp_path: Path, columns: list[dict[str, Any]], body: bytes, row: int, said: str
) -> None:
    on = version(tmp_path, linear(), TABLE, *columns)
    with pytest.raises(InvalidRequest, match=said):
        attribute(on, body, row)
