"""What version.toml says of inputs and outputs, compiled against a model: the plan, or an error that names the step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.errors import InvalidRequest, ManifestError
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.models.version_manifest import VersionManifest
from steelyard.pipelines.compile import compile_pipeline
from steelyard.pipelines.plan import Pipeline
from steelyard.wire import decode_request, encode_bytes_tensor
from steelyard.wire.generated import grpc_service as pb

TOKENS = TensorSpec("tokens", "INT32", (-1, 8))
PICTURE = TensorSpec("picture", "FP32", (-1, 3, 4, 6))
FACTOR = TensorSpec("factor", "FP32", (-1, 1))
SCORES = TensorSpec("scores", "FP32", (-1, 3))

WINDOWS = {"step": "windows", "begin": 4, "end": 4, "block": 16, "pad": 256}


def compiled(document: dict[str, Any], *inputs: TensorSpec, batched: bool = True) -> Pipeline | None:
    manifest = VersionManifest.model_validate(document)
    return compile_pipeline(manifest, ModelSpec(inputs or (TOKENS,), (SCORES,), batched), Path())


def request(**tensors: tuple[str, tuple[int, ...], bytes]) -> Any:
    message = pb.ModelInferRequest(model_name="m")
    for name, (datatype, shape, raw) in tensors.items():
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_input_contents.append(raw)
    return decode_request(message.SerializeToString())


def test_nothing_declared_is_no_pipeline() -> None:
    assert compiled({}) is None
    assert compiled({"input": [{"name": "tokens"}], "output": [{"name": "scores"}]}) is None


def test_files_become_tokens() -> None:
    plan = compiled({"input": [{"name": "file", "steps": [WINDOWS]}]})
    assert plan is not None
    assert plan.offered.inputs == (TensorSpec("file", "BYTES", (-1,)),)
    assert plan.offered.outputs == (SCORES,)
    files = [b"  abcdefgh", b"xy"]
    asked = request(file=("BYTES", (2,), encode_bytes_tensor(files)))
    assert plan.is_inline(asked, 2, False)
    prepared = plan.prepare(asked, 2, plan.tally())
    assert (prepared.rows, prepared.key) == (2, ())
    batch = np.zeros((2, 8), np.int32)
    prepared.inputs[0].fill(batch)
    pad = [256] * 2
    assert batch.tolist() == [[*b"abcdefgh"], [*b"xy", *pad, *pad, *b"xy"]]


def test_inputs_without_steps_are_passed_on_as_they_are() -> None:
    plan = compiled({"input": [{"name": "file", "to": "tokens", "steps": [WINDOWS]}]}, TOKENS, FACTOR)
    assert plan is not None
    assert [tensor.name for tensor in plan.offered.inputs] == ["file", "factor"]
    asked = request(
        file=("BYTES", (1,), encode_bytes_tensor([b"abcd"])), factor=("FP32", (1, 1), np.float32(3).tobytes())
    )
    prepared = plan.prepare(asked, 1, plan.tally())
    factor = np.zeros((1, 1), np.float32)
    prepared.inputs[1].fill(factor)
    assert factor.tolist() == [[3.0]]


def test_every_bad_row_is_named() -> None:
    plan = compiled({"input": [{"name": "file", "steps": [{**WINDOWS, "minimum": 3}]}]})
    assert plan is not None
    asked = request(file=("BYTES", (3,), encode_bytes_tensor([b"ab", b"abcdef", b""])))
    with pytest.raises(InvalidRequest, match=r"2 bad rows: row 0.*2 bytes .*; row 2.*0 bytes"):
        plan.prepare(asked, 3, plan.tally())


def test_what_callers_get() -> None:
    steps = [{"step": "softmax"}, {"step": "top_k", "k": 2}]
    plan = compiled(
        {"output": [{"name": "kind", "source": "scores", "labels": ["a", "b", "c"], "steps": steps}]}
    )
    assert plan is not None
    assert [(t.name, t.datatype, t.dims) for t in plan.offered.outputs] == [
        ("scores", "FP32", (-1, 2)),
        ("labels", "BYTES", (-1, 2)),
    ]
    logits, tokens = np.log(np.array([[1, 7, 2]], np.float32)), np.zeros((1, 8), np.int32)
    scores, labels = plan.finish([logits], 1, [tokens], plan.tally())
    assert np.allclose(scores, [[0.7, 0.2]])
    assert labels.tolist() == [[b"b", b"c"]]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"input": [{"name": "f", "steps": [{**WINDOWS, "bgin": 1}]}]}, "'bgin', did you mean 'begin'"),
        ({"input": [{"name": "f", "steps": [{"step": "windws"}]}]}, "did you mean 'windows'"),
        ({"input": [{"name": "f", "steps": [{**WINDOWS, "end": 5, "block": 16}]}]}, "rows of 9 tokens"),
        ({"input": [{"name": "f", "to": "tokns", "steps": [WINDOWS]}]}, "did you mean 'tokens'"),
        (
            {"input": [{"name": "f", "steps": [WINDOWS]}, {"name": "g", "steps": [WINDOWS]}]},
            "'tokens' is made of 'f' already",
        ),
        ({"input": [{"name": "f", "shape": [3], "steps": [WINDOWS]}]}, "first axis counts rows"),
        (
            {"input": [{"name": "f", "datatype": "FP32", "steps": [WINDOWS]}]},
            "step 'windows': expected BYTES",
        ),
        (
            {"input": [{"name": "f", "steps": [{"step": "image"}]}]},
            "step 'image': expected a model's input of four",
        ),
        ({"output": [{"name": "scores", "steps": [{"step": "top_k", "k": 0}]}]}, "output 'scores'"),
        ({"output": [{"name": "kind", "steps": [{"step": "softmax"}]}]}, "has no output 'kind'"),
        ({"model_tensors": True}, "no input has steps"),
    ],
)
def test_what_does_not_fit_names_the_step(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ManifestError, match=r"version\.toml: ") as refused:
        compiled(document)
    assert said in str(refused.value)


def test_a_model_without_rows_has_no_steps() -> None:
    with pytest.raises(ManifestError, match="first axis counts rows"):
        compiled({"input": [{"name": "f", "steps": [WINDOWS]}]}, batched=False)


def test_pixels_of_any_size_become_the_models_picture() -> None:
    plan = compiled(
        {
            "input": [
                {
                    "name": "pixels",
                    "datatype": "UINT8",
                    "shape": [-1, -1, -1, 3],
                    "steps": [{"step": "image"}],
                }
            ]
        },
        PICTURE,
    )
    assert plan is not None
    grey = np.full((2, 40, 20, 3), 51, np.uint8)
    prepared = plan.prepare(request(pixels=("UINT8", grey.shape, grey.tobytes())), 2, plan.tally())
    batch = np.zeros((2, 3, 4, 6), np.float32)
    prepared.inputs[0].fill(batch)
    assert (batch == 51).all()


@pytest.mark.parametrize(
    ("step", "files", "inline"),
    [
        (WINDOWS, [bytes(1 << 20)], True),
        ({**WINDOWS, "minimum": 2}, [bytes(1 << 20)] * 3, True),
        ({**WINDOWS, "block": 4096, "minimum": 2}, [bytes(8192)] * 100, False),
    ],
    ids=["nothing is looked at", "a block of each is looked at", "many blocks"],
)
def test_the_loop_prepares_what_it_hardly_has_to_look_at(
    step: dict[str, Any], files: list[bytes], inline: bool
) -> None:
    plan = compiled({"input": [{"name": "file", "steps": [step]}]})
    assert plan is not None
    asked = request(file=("BYTES", (len(files),), encode_bytes_tensor(files)))
    assert plan.is_inline(asked, len(files), False) is inline


def test_the_loop_prepares_no_images_and_holds_no_large_tensor_against_its_contract() -> None:
    image = compiled({"input": [{"name": "image", "steps": [{"step": "image"}]}]}, PICTURE)
    assert image is not None
    assert not image.is_inline(request(image=("BYTES", (1,), encode_bytes_tensor([b"x"]))), 1, False)
    held = compiled({"input": [{"name": "factor", "contract": {"max": 1}}]}, FACTOR)
    assert held is not None
    rows = 20_000
    large = request(factor=("FP32", (rows, 1), bytes(4 * rows)))
    assert not held.is_inline(large, rows, False)
    assert held.is_inline(request(factor=("FP32", (1, 1), bytes(4))), 1, False)
