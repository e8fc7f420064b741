"""Boxes in the model's input as boxes in the images that callers sent, for every fit, format and orientation."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from steelyard.errors import ExecutionFailed, ManifestError
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.models.version_manifest import VersionManifest
from steelyard.pipelines.compile import compile_pipeline
from steelyard.pipelines.image.geometry import Geometry
from steelyard.pipelines.outputs.boxes import Format, ImageSlot, from_slots
from steelyard.pipelines.plan import Pipeline, PreparedRequest
from steelyard.wire import decode_request, encode_bytes_tensor
from steelyard.wire.generated import grpc_service as pb

Array = np.ndarray[Any, Any]

FITS: list[dict[str, Any]] = [
    {"fit": "stretch"},
    {"fit": "centre_crop", "shorter_side": 40},
    {"fit": "centre_crop", "shorter_side": 24},
    {"fit": "letterbox"},
    {"fit": "letterbox", "align": "start", "enlarge": False},
    {"fit": "cover"},
]
WIDTH, HEIGHT = 48, 32


def pipeline(
    image: dict[str, Any], *steps: dict[str, Any], boxes: tuple[str, tuple[int, ...]] = ("FP32", (-1, -1, 4))
) -> Pipeline:
    manifest = VersionManifest.model_validate(
        {
            "input": [{"name": "image", "steps": [{"step": "image", **image}]}],
            "output": [{"name": "boxes", "steps": list(steps)}],
        }
    )
    model = ModelSpec(
        (TensorSpec("x", "FP32", (-1, 3, HEIGHT, WIDTH)),), (TensorSpec("boxes", *boxes),), batched=True
    )
    made = compile_pipeline(manifest, model, Path())
    assert made is not None
    return made


def of_files(made: Pipeline, *files: bytes) -> PreparedRequest:
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="image", datatype="BYTES", shape=[len(files)])
    message.raw_input_contents.append(encode_bytes_tensor(files))
    return made.prepare(decode_request(message.SerializeToString()), len(files), made.tally())


def file(size: tuple[int, int], format: str = "PNG", orientation: int = 1) -> bytes:
    """A file of `size` as it is stored."""
    target = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, (9, 9, 9)).save(target, format, exif=exif)
    return target.getvalue()


def finish(made: Pipeline, boxes: Any, *requests: PreparedRequest) -> Array:
    array = np.asarray(boxes, np.float32)
    rows = sum(request.rows for request in requests)
    inputs = [np.zeros((rows, 3, HEIGHT, WIDTH), np.float32)]
    return made.finish([array], rows, inputs, made.tally(), requests)[0]


def as_given(corners: Array, format: Format, unit: bool) -> Array:
    """What a model says of boxes [..., 4] in the slot's pixels, left, top, right, bottom."""
    left, top, right, bottom = np.moveaxis(corners, -1, 0)
    sides = (right - left, bottom - top)
    found = {
        "xyxy": (left, top, right, bottom),
        "xywh": (left, top, *sides),
        "cxcywh": ((left + right) / 2, (top + bottom) / 2, *sides),
    }[format]
    scale = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT] if unit else 1)
    return np.stack(found, axis=-1) / scale


@given(
    fit=st.sampled_from(FITS),
    sizes=st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), min_size=1, max_size=5),
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=4),
    format=st.sampled_from(["xyxy", "xywh", "cxcywh"]),
    unit=st.booleans(),
)
def test_a_box_drawn_in_an_image_comes_back_where_it_was(
    fit: dict[str, Any],
    sizes: list[tuple[int, int]],
    corners: list[tuple[float, ...]],
    format: Format,
    unit: bool,
) -> None:
    options = dict(fit)
    geometry = Geometry(options.pop("fit"), WIDTH, HEIGHT, **options)
    drawn = np.array([np.array(corners) * (w, h, w, h) for w, h in sizes])
    drawn = np.concatenate(
        [np.minimum(drawn[..., :2], drawn[..., 2:]), np.maximum(drawn[..., :2], drawn[..., 2:])], -1
    )
    placements = [geometry.place(*size) for size in sizes]
    said = np.array(
        [as_given(place.to_slot(boxes), format, unit) for place, boxes in zip(placements, drawn, strict=True)]
    )
    ways = np.array([place.way_back(*size) for place, size in zip(placements, sizes, strict=True)])
    slot = ImageSlot("x", WIDTH, HEIGHT)
    found = from_slots(said, format, "unit" if unit else "pixels", slot, ways, clip=True)
    for size, back, boxes in zip(sizes, found, drawn, strict=True):
        np.testing.assert_allclose(back, boxes, atol=1e-6 * max(size))
        assert (back >= 0).all()
        assert (back <= (*size, *size)).all()


@pytest.mark.parametrize("fit", FITS, ids=str)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("decode", ["full", "scaled"])
def test_files_of_any_orientation_size_and_reduction(
    fit: dict[str, Any], orientation: int, decode: str
) -> None:
    made = pipeline({**fit, "decode": decode}, {"step": "boxes"})
    stored = [(300, 200), (47, 95), (641, 479)]
    seen = [size[::-1] if orientation >= 5 else size for size in stored]
    options = dict(fit)
    geometry = Geometry(options.pop("fit"), WIDTH, HEIGHT, **options)
    drawn = [np.array([[w * 0.25, h * 0.5, w * 0.75, h * 0.625]]) for w, h in seen]
    said = [geometry.place(*size).to_slot(box) for size, box in zip(seen, drawn, strict=True)]
    first = of_files(made, *(file(size, "JPEG", orientation) for size in stored[:2]))
    second = of_files(made, file(stored[2], "JPEG", orientation))
    found = finish(made, said, first, second)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, drawn, rtol=1e-4, atol=1e-3)


def test_an_orientation_that_is_not_followed_turns_nothing() -> None:
    made = pipeline({"fit": "stretch", "orient": False}, {"step": "boxes"})
    turned = of_files(made, file((96, 32), "JPEG", 6))
    assert finish(made, [[[0, 0, WIDTH, HEIGHT]]], turned).tolist() == [[[0, 0, 96, 32]]]


def test_numbers_after_the_box_stay_as_they_are_and_boxes_are_cut_at_the_edges() -> None:
    steps = ({"step": "boxes", "format": "xywh", "scale": "unit"},)
    made = pipeline({"fit": "letterbox"}, *steps, boxes=("FP32", (-1, 2, 6)))
    image = of_files(made, file((96, 96)))  # 32 by 32 in the middle of the slot
    rows = [[[0, 0, 1, 1, 0.5, 7], [1 / 6, 0.5, 1 / 3, 0.25, np.nan, -1]]]
    found = finish(made, rows, image)
    np.testing.assert_allclose(found, [[[0, 0, 96, 96, 0.5, 7], [0, 48, 48, 72, np.nan, -1]]], atol=1e-4)
    uncut = pipeline({"fit": "letterbox"}, {**steps[0], "clip": False}, boxes=("FP32", (-1, 2, 6)))
    np.testing.assert_allclose(
        finish(uncut, rows, of_files(uncut, file((96, 96))))[0, 0, :4], [-24, 0, 120, 96], atol=1e-4
    )


def test_one_box_a_row_and_half_precision_becomes_single() -> None:
    made = pipeline({}, {"step": "boxes"}, boxes=("FP16", (-1, 4)))
    assert made.offered.outputs == (TensorSpec("boxes", "FP32", (-1, 4)),)
    prepared = of_files(made, file((4800, 3200)), file((48, 64)))
    half = np.array([[0, 0, 47.5, 31], [1, 1, 2, 2]], np.float16)
    inputs = [np.zeros((2, 3, HEIGHT, WIDTH), np.float32)]
    assert made.finish([half], 2, inputs, made.tally(), [prepared])[0].tolist() == [
        [0, 0, 4750, 3100],
        [1, 2, 2, 4],
    ]


def test_the_models_own_tensors_are_images_as_they_are() -> None:
    made = pipeline({}, {"step": "boxes", "scale": "unit"})
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 3, HEIGHT, WIDTH])
    message.raw_input_contents.append(bytes(4 * 3 * HEIGHT * WIDTH))
    own = made.pass_on(decode_request(message.SerializeToString()), 1, made.tally())
    beside = of_files(made, file((480, 320)))
    said = [[[0.5, 0.5, 1, 2]]] * 2
    assert finish(made, said, own, beside).tolist() == [[[24, 16, 48, 32]], [[240, 160, 480, 320]]]


def test_pixels_have_their_way_back_too() -> None:
    manifest = VersionManifest.model_validate(
        {
            "input": [
                {
                    "name": "pixels",
                    "datatype": "UINT8",
                    "shape": [-1, -1, -1, 3],
                    "steps": [{"step": "image"}],
                }
            ],
            "output": [{"name": "boxes", "steps": [{"step": "boxes", "input": "pixels"}]}],
        }
    )
    model = ModelSpec(
        (TensorSpec("x", "FP32", (-1, 3, HEIGHT, WIDTH)),), (TensorSpec("boxes", "FP32", (-1, 4)),), True
    )
    made = compile_pipeline(manifest, model, Path())
    assert made is not None
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="pixels", datatype="UINT8", shape=[1, 16, 24, 3])
    message.raw_input_contents.append(bytes(16 * 24 * 3))
    prepared = made.prepare(decode_request(message.SerializeToString()), 1, made.tally())
    assert finish(made, [[48, 32, 2, 2]], prepared).tolist() == [[24, 16, 1, 1]]


def test_one_image_may_have_any_number_of_rows() -> None:
    made = pipeline({}, {"step": "boxes"}, boxes=("FP32", (-1, 4)))
    prepared = of_files(made, file((96, 64)))
    assert finish(made, [[0, 0, 1, 1], [2, 2, 3, 3]], prepared).tolist() == [[0, 0, 2, 2], [4, 4, 6, 6]]
    pair = of_files(made, file((96, 64)), file((48, 32)))
    with pytest.raises(ExecutionFailed, match=r"output 'boxes': expected boxes for 2 images.*\[3, 4\]"):
        finish(made, np.zeros((3, 4)), pair)


def test_no_rows_are_no_boxes() -> None:
    made = pipeline({}, {"step": "boxes"})
    assert finish(made, np.zeros((0, 5, 4)), of_files(made)).shape == (0, 5, 4)


@pytest.mark.parametrize(
    ("step", "boxes", "said"),
    [
        ({"input": "picture"}, ("FP32", (-1, 4)), r"step 'image' \(image\), got 'picture'"),
        ({}, ("INT64", (-1, 4)), "expected FP16, FP32, FP64, got INT64; cast it first"),
        ({}, ("FP32", (-1,)), "at least 2 dimensions"),
        ({}, ("FP32", (-1, 3)), r"four numbers or more along the last axis, got \[-1, 3\]"),
        ({"format": "yxyx"}, ("FP32", (-1, 4)), "format"),
    ],
)
def test_what_cannot_be_compiled(step: dict[str, Any], boxes: tuple[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(ManifestError, match=said) as error:
        pipeline({}, {"step": "boxes", **step}, boxes=boxes)
    assert "output 'boxes'" in str(error.value)


def test_boxes_need_images() -> None:
    manifest = VersionManifest.model_validate({"output": [{"name": "y", "steps": [{"step": "boxes"}]}]})
    model = ModelSpec((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 4)),), True)
    with pytest.raises(ManifestError, match=r"step 'boxes': .*\(none\), got none"):
        compile_pipeline(manifest, model, Path())


def test_rows_that_are_marked_take_their_images_with_them() -> None:
    manifest = VersionManifest.model_validate(
        {
            "on_breach": "mark",
            "input": [{"name": "image", "steps": [{"step": "image"}]}],
            "output": [{"name": "boxes", "steps": [{"step": "boxes"}]}],
        }
    )
    model = ModelSpec(
        (TensorSpec("x", "FP32", (-1, 3, HEIGHT, WIDTH)),), (TensorSpec("boxes", "FP32", (-1, 4)),), True
    )
    made = compile_pipeline(manifest, model, Path())
    assert made is not None
    prepared = of_files(made, file((96, 64)), b"no image", file((480, 320)))
    assert prepared.kept == [0, 2]
    assert finish(made, [[1, 1, 2, 2]] * 2, prepared).tolist() == [[2, 2, 4, 4], [10, 10, 20, 20]]
