"""Versions that take what callers have: files, images; and give what callers want: labels. Over the real process."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow
import pyarrow.ipc
from PIL import Image

from steelyard.wire.generated import grpc_service as pb
from tests.support import models
from tests.support.asking import Asker, arrays, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually


def elements(*given: bytes) -> np.ndarray[Any, Any]:
    array = np.empty(len(given), dtype=object)
    array[:] = given
    return array


def png(level: int, size: tuple[int, int] = (20, 12)) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(target, "PNG")
    return target.getvalue()


def test_files_as_they_are(ask: Asker) -> None:
    answer = ask.infer("files", {"file": elements(b"  abcdefgh", b"xy")})["y"]
    assert answer.tolist() == [[*b"abcdefgh"], [*b"xy", 256, 256, 256, 256, *b"xy"]]


def test_the_models_own_tensors_where_the_manifest_allows_them(ask: Asker) -> None:
    own = np.arange(16, dtype=np.int32).reshape(2, 8)
    assert ask.infer("files", {"x": own})["y"].tolist() == own.tolist()
    refusal = ask.refused(request("pictures", {"x": np.zeros((1, 3, 8, 8), np.float32)}))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'image'" in refusal.message


def test_every_bad_row_is_named_and_nobody_else_notices(ask: Asker) -> None:
    bad = ask.start(request("files", {"file": elements(b"a", b"good", b"")}))
    good = [ask.start(request("files", {"file": elements(b"good")})) for _ in range(20)]
    error = bad.exception()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    for part in (
        "'files' version 1",
        "2 bad rows",
        "row 0",
        "row 2",
        "'file'",
        "at least 2 bytes",
        "0 bytes",
    ):
        assert part in error.details()
    for call in good:
        assert arrays(pb.ModelInferResponse.FromString(call.result()))["y"].tolist() == [[*b"goodgood"]]


def test_images_of_any_size_side_by_side(ask: Asker) -> None:
    calls = [ask.start(request("pictures", {"image": elements(png(n), png(200))})) for n in range(40)]
    for n, call in enumerate(calls):
        answer = arrays(pb.ModelInferResponse.FromString(call.result()))["y"]
        assert answer.shape == (2, 3, 8, 8)
        assert (answer[0] == n).all()
        assert (answer[1] == 200).all()


def test_what_is_no_image_is_refused_and_nobody_else_notices(ask: Asker) -> None:
    huge = png(0, (1, 1)).replace((1).to_bytes(4, "big") * 2, (40_000).to_bytes(4, "big") * 2)
    whole = png(7)
    bad = {
        "empty": b"",
        "text": b"no image at all",
        "cut": whole[: len(whole) // 2],
        "huge": huge,
    }
    calls = {
        name: ask.start(request("pictures", {"image": elements(png(1), content)}))
        for name, content in bad.items()
    }
    good = [ask.start(request("pictures", {"image": elements(whole)})) for _ in range(10)]
    for name, call in calls.items():
        error = call.exception()
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, name
        assert "row 1" in error.details(), name
        assert "row 0" not in error.details(), name
    for call in good:
        assert (arrays(pb.ModelInferResponse.FromString(call.result()))["y"] == 7).all()


def lamp(size: tuple[int, int], box: tuple[int, int, int, int], orientation: int = 1) -> bytes:
    """A dark picture of `size` as it is seen, bright in `box`, in a file that is stored as `orientation` says."""
    image = Image.new("RGB", size, (10, 10, 10))
    image.paste((250, 250, 250), box)
    turned = {
        1: None,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    way = turned[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    target = io.BytesIO()
    (image if way is None else image.transpose(way)).save(target, "JPEG", quality=95, exif=exif)
    return target.getvalue()


LAMPS = [
    ((640, 480), (100, 120, 300, 200), 1),
    ((480, 640), (40, 400, 320, 600), 6),
    ((64, 64), (5, 7, 20, 30), 1),
    ((900, 300), (600, 30, 870, 270), 3),
    ((200, 1000), (20, 50, 180, 130), 8),
    ((30, 20), (0, 0, 30, 20), 1),
]


def test_images_are_prepared_while_a_run_holds_every_thread(
    tmp_path: Path, start: Callable[..., Server]
) -> None:
    repository = tmp_path / "models"
    models.put(repository, "stall", models.stall())
    about = '[[input]]\nname = "image"\nsteps = [{ step = "image" }]\n'
    models.put(repository, "pictures", models.pictures(), about=about)
    server = start(repository, threads=1).wait_ready()
    with Asker(server.address) as own:
        # The first run of a model that was measured as fast is on the event loop; from the second it is not.
        own.call("ModelInfer", request("stall", {"turns": np.array([200_000], np.int64)}))
        running = own.start(request("stall", {"turns": np.array([3_000_000], np.int64)}))
        eventually(lambda: metrics(server, model="stall", version="1")["steelyard_in_flight"] == 1)
        refusal = own.refused(request("pictures", {"image": elements(b"no image at all")}))
        assert "row 0" in refusal.message
        assert not running.done(), "what is wrong with an image is found while the run goes on"
        assert running.result()


def test_boxes_are_given_in_the_image_that_was_sent(server: Server, ask: Asker) -> None:
    """Images of different sizes and orientations, in requests that share batches."""
    calls = []
    for start in range(36):
        pair = [LAMPS[(start + n) % len(LAMPS)] for n in range(1 + start % 3)]
        calls.append((pair, ask.start(request("bright", {"image": elements(*(lamp(*one) for one in pair))}))))
    for pair, call in calls:
        boxes = arrays(pb.ModelInferResponse.FromString(call.result()))["boxes"]
        assert boxes.shape == (len(pair), 1, 5)
        for (size, box, _), found in zip(pair, boxes[:, 0], strict=True):
            # The model sees a sixty-fourth of the longer side as one pixel.
            assert np.abs(found[:4] - box).max() <= 1.01 * max(size) / 64, (size, box, found)
            assert found[4] > 0.9
    labels = {"model": "bright", "version": "1"}
    counts = metrics(server, **labels)
    assert counts["steelyard_batches_total"] < counts["steelyard_rows_total"]


def test_boxes_in_the_models_own_tensor_stay_where_they_are(ask: Asker) -> None:
    own = np.zeros((1, 3, 64, 64), np.float32)
    own[:, :, 10:20, 30:50] = 1
    assert ask.infer("bright", {"x": own})["boxes"].tolist() == [[[30, 10, 50, 20, 1]]]


FEATURES = [[2.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 1.0]]


def test_rows_of_json(ask: Asker) -> None:
    rows = [{"delay": 5, "carrier": "UA"}, {"delay": None, "carrier": "AA"}, {"carrier": "DL", "delay": -1.0}]
    answer = ask.infer("table_json", {"rows": elements(*(json.dumps(row).encode() for row in rows))})
    assert answer["y"].tolist() == FEATURES


def test_rows_of_an_arrow_batch(ask: Asker) -> None:
    batch = pyarrow.record_batch({"delay": [5.0, None, -1.0], "carrier": ["UA", "AA", "DL"]})
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    assert (
        ask.infer("table_arrow", {"rows": elements(sink.getvalue().to_pybytes())})["y"].tolist() == FEATURES
    )


def test_rows_of_a_tensor_for_each_column(ask: Asker) -> None:
    given = {"delay": np.array([5.0, np.nan, -1.0]), "carrier": elements(b"UA", b"AA", b"DL")}
    assert ask.infer("table_columns", given)["y"].tolist() == FEATURES


def test_every_bad_cell_is_named(ask: Asker) -> None:
    rows = [
        b'{"delay": 1, "carrier": "UA"}',
        b'{"delay": "1", "carrier": "UA"}',
        b'{"delay": NaN, "carrier": "UA"}',
        b'{"delay": 1, "delay": 2, "carrier": "UA"}',
        b'{"delay": 1}',
        b'{"delay": 1, "carrier": "UA", "extra": 2}',
        b'{"delay": 1, "carrier": "XX"}',
        b"[1]",
    ]
    good = [ask.start(request("table_json", {"rows": elements(rows[0])})) for _ in range(5)]
    refusal = ask.refused(request("table_json", {"rows": elements(*rows)}))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "7 bad rows" in refusal.message
    assert "row 0" not in refusal.message
    for row in range(1, 8):
        assert f"row {row}" in refusal.message
    assert "'XX'" in refusal.message or "XX" in refusal.message
    for call in good:
        assert arrays(pb.ModelInferResponse.FromString(call.result()))["y"].tolist() == [[0, 0, 1, 0]]


def test_no_rows_are_no_rows(ask: Asker) -> None:
    assert ask.infer("files", {"file": elements()})["y"].shape == (0, 8)
    assert ask.infer("pictures", {"image": elements()})["y"].shape == (0, 3, 8, 8)
    assert ask.infer("table_json", {"rows": elements()})["y"].shape == (0, 4)
    assert ask.infer("kinds", {"x": np.zeros((0, 3), np.float32)})["kind"].shape == (0, 2)


def test_a_caller_that_goes_away_while_its_images_are_prepared(server: Server, ask: Asker) -> None:
    labels = {"model": "pictures", "version": "1"}
    before = metrics(server, **labels)["steelyard_requests_received_total"]
    calls = [ask.start(request("pictures", {"image": elements(png(n, (900, 900)))})) for n in range(30)]
    eventually(lambda: metrics(server, **labels)["steelyard_requests_received_total"] > before)
    for call in calls:
        call.cancel()
    eventually(lambda: metrics(server, **labels)["steelyard_in_flight"] == 0)
    assert (ask.infer("pictures", {"image": elements(png(5))})["y"] == 5).all()


def test_a_deadline_passes_while_images_wait_to_be_prepared(ask: Asker) -> None:
    calls = [
        ask.start(request("pictures", {"image": elements(*[png(n, (900, 900))] * 20)}), timeout=0.05)
        for n in range(20)
    ]
    codes = {call.exception().code() if call.exception() else grpc.StatusCode.OK for call in calls}
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert (ask.infer("pictures", {"image": elements(png(6))})["y"] == 6).all()


def test_labels_in_the_place_of_scores(ask: Asker) -> None:
    scores = np.log(np.array([[1, 7, 2], [5, 4, 1]], np.float32))
    answer = ask.infer("kinds", {"x": scores})
    assert answer["kind"].tolist() == [[b"dog", b"eel"], [b"cat", b"dog"]]
    assert np.allclose(answer["score"], [[0.7, 0.2], [0.5, 0.4]])
    only = ask.infer("kinds", {"x": scores}, outputs=["kind"])
    assert list(only) == ["kind"]


def test_text_of_what_was_read_time_by_time_and_one_class_of_it(ask: Asker) -> None:
    times = np.zeros((2, 4, 3), np.float32)
    times[0, [0, 1, 2, 3], [1, 1, 0, 2]] = 0.5, 0.5, 1.0, 0.25
    times[1, :, 0] = 1.0
    answer = ask.infer("lines", {"x": times})
    assert answer["text"].tolist() == ["aé".encode(), b""]
    assert answer["sure"].tolist() == [0.375, 0.0]
    assert answer["blank"].tolist() == [[0, 0, 1, 0], [1, 1, 1, 1]]


def test_metadata_and_config_say_what_callers_send_and_get(ask: Asker) -> None:
    found = ask.call("ModelMetadata", pb.ModelMetadataRequest(name="files"))
    assert [(t.name, t.datatype, list(t.shape)) for t in found.inputs] == [("file", "BYTES", [-1])]
    found = ask.call("ModelMetadata", pb.ModelMetadataRequest(name="kinds"))
    assert [(t.name, t.datatype, list(t.shape)) for t in found.outputs] == [
        ("score", "FP32", [-1, 2]),
        ("kind", "BYTES", [-1, 2]),
    ]
    config = ask.call("ModelConfig", pb.ModelConfigRequest(name="files")).config
    assert [(t.name, list(t.dims)) for t in config.input] == [("file", [])]


def test_a_wrong_step_keeps_the_version_out_and_names_the_step(ask: Asker) -> None:
    index = {m.name: m.reason for m in ask.call("RepositoryIndex", pb.RepositoryIndexRequest()).models}
    assert "'image'" in index["wrong_step"]
    assert "'widht', did you mean 'width'" in index["wrong_step"]


def test_counts_add_up_whatever_was_prepared(server: Server, ask: Asker) -> None:
    labels = {"model": "pictures", "version": "1"}
    # Callers of other tests have gone while their images were being prepared.
    eventually(lambda: metrics(server, **labels)["steelyard_in_flight"] == 0)
    before = metrics(server, **labels)
    ask.infer("pictures", {"image": elements(png(3))})
    ask.refused(request("pictures", {"image": elements(b"nothing")}))
    after = metrics(server, **labels)
    assert after["steelyard_requests_received_total"] - before["steelyard_requests_received_total"] == 2
    assert after.outcome("answered") - before.outcome("answered") == 1
    assert after["steelyard_in_flight"] == after["steelyard_queue_depth"] == 0
