"""One bad row among good ones, of every kind that callers have: only that row is marked, and nobody else notices."""

import io
from typing import Any

import grpc
import numpy as np
import pyarrow
import pyarrow.ipc
import pytest
from PIL import Image

from steelyard.wire.generated import grpc_service as pb
from tests.services.test_pipelines import elements, png
from tests.support.asking import Asker, arrays, request


def saved(format: str, **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (20, 12), (9, 9, 9)).save(target, format, **options)
    return target.getvalue()


def huge(side: int = 40_000) -> bytes:
    """A PNG of some bytes that says it has so many pixels a side."""
    return png(0, (1, 1)).replace((1).to_bytes(4, "big") * 2, side.to_bytes(4, "big") * 2)


WHOLE = png(7)
NO_IMAGES = {
    "zero bytes": b"",
    "text": b"no image at all",
    "truncated PNG": WHOLE[: len(WHOLE) // 2],
    "truncated JPEG header": saved("JPEG")[:30],
    "corrupt PNG": WHOLE[:40] + bytes(len(WHOLE) - 60) + WHOLE[-20:],
    "40,000 by 40,000 pixels": huge(),
    "no pixels": huge(0),
    "a signature alone": WHOLE[:8],
    "another format": saved("GIF"),
}


@pytest.mark.parametrize("bad", NO_IMAGES.values(), ids=NO_IMAGES)
def test_what_is_no_image(ask: Asker, bad: bytes) -> None:
    others = [ask.start(request("marked_images", {"image": elements(WHOLE)})) for _ in range(5)]
    found = ask.infer("marked_images", {"image": elements(WHOLE, bad, png(9))})
    assert (found["y"][0] == 7).all()
    assert (found["y"][2] == 9).all()
    assert np.isnan(found["y"][1]).all()
    status = found["row_status"].tolist()
    assert status[1].startswith(b"image: column 'image': expected an image that can be decoded, came ")
    assert [status[0], status[2]] == [b"", b""]
    for other in others:
        answer = arrays(pb.ModelInferResponse.FromString(other.result()))
        assert (answer["y"] == 7).all()
        assert answer["row_status"].tolist() == [b""]


def test_a_format_that_is_not_taken_whatever_it_is_called(ask: Asker) -> None:
    found = ask.infer("marked_jpegs", {"image": elements(WHOLE, saved("JPEG", quality=100))})
    assert np.abs(found["y"][1] - 9).max() <= 1
    assert b"image" in found["row_status"][0]
    assert not found["row_status"][1]


def test_of_several_frames_the_first(ask: Asker) -> None:
    frames = [Image.new("RGB", (8, 8), (level,) * 3) for level in (5, 200)]
    target = io.BytesIO()
    frames[0].save(target, "PNG", save_all=True, append_images=frames[1:])
    assert (ask.infer("marked_images", {"image": elements(target.getvalue())})["y"] == 5).all()


BAD_TEXTS = {
    "no UTF-8": b"one \xff\xfe",
    "900,000 bytes": b"one " * 225_000,
    "a cut character": "é".encode()[:1],
}


@pytest.mark.parametrize("bad", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_what_is_no_text_or_too_much(ask: Asker, bad: bytes) -> None:
    found = ask.infer("marked_texts", {"text": elements(b"one one", bad, b"one two")})
    assert found["y"][[0, 2]].tolist() == [[20.0], [11.0]]
    assert np.isnan(found["y"][1]).all()
    assert [bool(one) for one in found["row_status"].tolist()] == [False, True, False]


def test_a_text_of_no_words_is_one(ask: Asker) -> None:
    found = ask.infer("marked_texts", {"text": elements(b"", b"one")})
    assert found["y"].tolist() == [[0.0], [10.0]]
    assert found["row_status"].tolist() == [b"", b""]


def stream(**columns: Any) -> dict[str, Any]:
    batch = pyarrow.record_batch(columns)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return {"rows": elements(sink.getvalue().to_pybytes())}


def test_rows_of_an_arrow_batch_are_marked_one_by_one(ask: Asker) -> None:
    given = stream(delay=[5.0, float("inf"), -1.0, 2.0], carrier=["UA", "UA", "DL", "ZZ"])
    found = ask.infer("marked_arrow", given)
    assert found["y"].shape == (4, 4)
    assert found["y"][[0, 2]].tolist() == [[2.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 1.0]]
    assert np.isnan(found["y"][[1, 3]]).all()
    assert [one.split(b":")[0] for one in found["row_status"].tolist()] == [
        b"",
        b"finite",
        b"",
        b"unknown_category",
    ]


@pytest.mark.parametrize(
    "columns",
    [
        {"delay": [1.0]},
        {"delay": [1.0], "carrier": ["UA"], "other": [1]},
        {"delay": ["1"], "carrier": ["UA"]},
        {"delay": [[1.0]], "carrier": ["UA"]},
    ],
    ids=["a column is missing", "one too many", "another type", "nested"],
)
def test_an_arrow_batch_of_other_columns_is_refused_whole(ask: Asker, columns: dict[str, Any]) -> None:
    refusal = ask.refused(request("marked_arrow", stream(**columns)))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'delay'" in refusal.message or "'carrier'" in refusal.message or "'other'" in refusal.message
    assert ask.infer("marked_arrow", stream(delay=[1.0], carrier=["UA"]))["row_status"].tolist() == [b""]
