"""Golden examples at load: a version that answers otherwise than it should is kept out, with the example named."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from steelyard.errors import LoadFailed, ManifestError, RepositoryError, SteelyardError
from steelyard.models.digest import version_digest
from steelyard.models.golden import golden_paths, read_example, write_golden
from steelyard.models.manifest import GoldenRuns, ModelManifest, Serving
from steelyard.serving.loading import Environment, load_version
from steelyard.serving.verdicts import Verdicts
from steelyard.wire import encode_bytes_tensor, encode_response
from steelyard.wire.generated import grpc_service as pb
from tests.runtime import models
from tests.support.models import bright_box, put

X = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
TOKENS = (
    '[[input]]\nname = "file"\nsteps = [{ step = "windows", begin = 2, end = 2, block = 8, pad = 256 }]\n'
)


def request(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> bytes:
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name=name, datatype=datatype, shape=shape)
    message.raw_input_contents.append(raw)
    return message.SerializeToString()


def expected(array: np.ndarray[Any, Any], datatype: str = "FP32") -> bytes:
    return encode_response("m", "1", "", {}, [("Y", datatype, array.shape, array.tobytes())])


def load(path: Path) -> None:
    load_version("m", path, ModelManifest(), Environment(1, "dev", Verdicts(None)))


@pytest.fixture
def version(tmp_path: Path) -> Path:
    models.scaled(tmp_path)
    return tmp_path


def test_the_right_answer_lets_a_version_in(version: Path) -> None:
    before = version_digest(version)
    write_golden(version, "two rows", request("X", "FP32", (2, 3), X.tobytes()), expected(2 * X))
    load(version)
    assert [example.name for example in golden_paths(version)] == ["two rows"]
    assert version_digest(version) == before


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (expected(2 * X + 0.5), "output 'Y' differs by 0.5"),
        (expected(2 * X[:1]), r"expected shape \[1, 3\], came \[2, 3\]"),
        (expected(np.zeros((2, 3), np.int32), "INT32"), "expected INT32, came FP32"),
        (encode_response("m", "1", "", {}, [("Z", "FP32", (1,), bytes(4))]), "does not have"),
    ],
)
def test_another_answer_keeps_it_out_and_names_the_example(version: Path, answer: bytes, said: str) -> None:
    body = request("X", "FP32", (2, 3), X.tobytes())
    write_golden(version, "good", body, expected(2 * X))
    write_golden(version, "bad", body, answer)
    with pytest.raises(LoadFailed, match=f"1 of 2 golden examples failed: 'bad': .*{said}"):
        load(version)


def test_an_example_may_ask_for_classes_and_for_some_outputs(version: Path) -> None:
    asked = pb.ModelInferRequest(model_name="m")
    asked.inputs.add(name="X", datatype="FP32", shape=[2, 3])
    asked.raw_input_contents.append(X.tobytes())
    asked.outputs.add(name="Y").parameters["classification"].int64_param = 1
    best = (2 * X).argmax(axis=1)
    classes = [f"{(2 * X)[row, place]:f}:{place}".encode() for row, place in enumerate(best)]
    answer = encode_response("m", "1", "", {}, [("Y", "BYTES", (2, 1), encode_bytes_tensor(classes))])
    write_golden(version, "classes", asked.SerializeToString(), answer)
    load(version)
    asked.outputs[0].name = "Z"
    write_golden(version, "no such output", asked.SerializeToString(), answer)
    with pytest.raises(LoadFailed, match=r"'no such output': .*came 'Z'"):
        load(version)


def test_a_manifest_may_let_a_version_in_that_fails(version: Path) -> None:
    body = request("X", "FP32", (2, 3), X.tobytes())
    write_golden(version, "good", body, expected(2 * X))
    write_golden(version, "bad", body, expected(2 * X + 0.5))
    directory = write_golden(version, "torn", body, expected(2 * X))
    (directory / "request.pb").unlink()
    manifest = ModelManifest(serving=Serving(golden=GoldenRuns(at_load="report")))
    loaded = load_version("m", version, manifest, Environment(1, "dev", Verdicts(None)))
    assert loaded.golden_passed == 1
    assert loaded.failing["bad"] == "output 'Y' differs by 0.5"
    assert "request.pb: cannot be read" in loaded.failing["torn"]


def test_the_tolerance_is_the_examples_own(version: Path) -> None:
    directory = write_golden(
        version, "wide", request("X", "FP32", (2, 3), X.tobytes()), expected(2 * X + 0.5)
    )
    (directory / "golden.toml").write_text("absolute = 1.0\n")
    load(version)
    (directory / "golden.toml").write_text("absolut = 1.0\n")
    with pytest.raises(ManifestError, match="did you mean 'absolute'"):
        load(version)


def test_a_request_that_does_not_fit_or_is_none(version: Path) -> None:
    write_golden(version, "misfit", request("X", "FP32", (1, 4), bytes(16)), expected(X))
    with pytest.raises(LoadFailed, match="'misfit': its request does not fit"):
        load(version)
    (version / "golden" / "misfit" / "request.pb").write_bytes(b"\xff")
    with pytest.raises(SteelyardError, match="'misfit'"):
        load(version)
    (version / "golden" / "misfit" / "request.pb").unlink()
    with pytest.raises(RepositoryError, match=r"request\.pb: cannot be read"):
        load(version)


def test_a_pipeline_is_a_part_of_what_is_tested(tmp_path: Path) -> None:
    models.identity(tmp_path, 6, ["n", 4])
    (tmp_path / "version.toml").write_text(TOKENS)
    body = request("file", "BYTES", (1,), encode_bytes_tensor([b" abc"]))
    write_golden(tmp_path, "file", body, expected(np.array([[*b"ab", *b"bc"]], np.int32), "INT32"))
    load(tmp_path)
    (tmp_path / "version.toml").write_text(TOKENS.replace("block = 8", "block = 8, strip = false"))
    with pytest.raises(LoadFailed, match="'file': output 'Y' differs"):
        load(tmp_path)


def test_boxes_of_an_example_are_in_its_own_image(tmp_path: Path) -> None:
    version = put(
        tmp_path,
        "m",
        bright_box(),
        about='[[input]]\nname = "image"\nsteps = [{ step = "image", fit = "letterbox", scale = 0.0039 }]\n'
        '[[output]]\nname = "boxes"\nsteps = [{ step = "boxes" }]\n',
    )
    image = Image.new("RGB", (128, 32))
    image.paste((250, 250, 250), (32, 8, 96, 24))
    target = io.BytesIO()
    image.save(target, "PNG")
    body = request("image", "BYTES", (1,), encode_bytes_tensor([target.getvalue()]))
    boxes = np.array([[[32, 8, 96, 24, 250 * 0.0039]]], np.float32)
    answer = encode_response("m", "1", "", {}, [("boxes", "FP32", boxes.shape, boxes.tobytes())])
    write_golden(version, "image", body, answer)
    load(version)


def test_an_example_is_never_written_over(version: Path) -> None:
    write_golden(version, "one", b"a", b"b")
    with pytest.raises(RepositoryError, match="is there already"):
        write_golden(version, "one", b"c", b"d")
    assert [path.name for path in (version / "golden").iterdir()] == ["one"]
    assert read_example(version / "golden" / "one").request == b"a"


def test_rows_of_examples_show_whether_rows_are_independent(tmp_path: Path) -> None:
    """The dependence is there only between the rows of the examples, not between any made-up ones."""
    models.centred(tmp_path)
    alone = np.array([[5, 5, 5]], np.float32)
    for name in ("a", "b"):
        write_golden(tmp_path, name, request("X", "FP32", (1, 3), alone.tobytes()), expected(0 * alone))
    loaded = load_version("m", tmp_path, ModelManifest(), Environment(1, "dev", Verdicts(None)))
    assert "all alike" in loaded.batching.reason
    other = 3 * alone
    write_golden(tmp_path, "c", request("X", "FP32", (1, 3), other.tobytes()), expected(0 * other))
    loaded = load_version("m", tmp_path, ModelManifest(), Environment(1, "dev", Verdicts(None)))
    assert "depends on the rows beside it" in loaded.batching.reason
