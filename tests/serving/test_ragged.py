"""Requests of different length, answered together: each gets what it would get alone, and only where that is so."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native.observe import Segment
from steelyard.clock import SystemClock
from steelyard.errors import ManifestError
from steelyard.models.manifest import ModelManifest
from steelyard.models.ragged import Pad
from steelyard.observe.segment import SegmentReader
from steelyard.observe.segment_file import create_segment
from steelyard.runtime.ragged import Ragged, RaggedInput
from steelyard.scheduling.ragged import RaggedLane
from steelyard.scheduling.scheduler import Scheduler
from steelyard.serving.catalog import Catalog
from steelyard.serving.cost_keeping import CostKeeping
from steelyard.serving.costs import Costs
from steelyard.serving.engine import Engine
from steelyard.serving.loader import Loader
from steelyard.serving.loading import Environment, LoadedVersion, load_version
from steelyard.serving.verdicts import Verdicts
from steelyard.wire.generated import grpc_service as pb
from tests.runtime import models
from tests.serving.test_engine import RecordedCall

RAGGED = '[[input]]\nname = "ids"\nragged = true\n[[input]]\nname = "mask"\nragged = true\n'


def write(path: Path, masked: bool = True, manifest: str = RAGGED) -> Path:
    models.token_means(path, masked)
    (path / "version.toml").write_text(manifest)
    return path


def load(path: Path, costs: Path | None = None) -> LoadedVersion:
    return load_version("m", path, ModelManifest(), Environment(1, "dev", Verdicts(None), costs=Costs(costs)))


class Server:
    """An engine with one model, and its counts."""

    def __init__(self, root: Path) -> None:
        self.descriptor = create_segment("test")
        clock = SystemClock()
        segment = Segment(self.descriptor, os.getpid(), clock.unix_ns())
        self.catalog = Catalog()
        scheduler = Scheduler(1, 1 << 30)
        self.engine = Engine(asyncio.get_running_loop(), clock, self.catalog, scheduler, segment.unknown)
        self.loader = Loader(root, self.catalog, segment, Environment(1, "dev", Verdicts(None)), 1)

    def ask(self, ids: np.ndarray, mask: np.ndarray) -> RecordedCall:
        call = RecordedCall()
        request = pb.ModelInferRequest(model_name="m")
        for name, array in (("ids", ids), ("mask", mask)):
            request.inputs.add(name=name, datatype="INT64", shape=array.shape)
            request.raw_input_contents.append(array.astype(np.int64).tobytes())
        self.engine.submit(call, request.SerializeToString())
        return call


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    write(tmp_path / "m" / "1")
    running = Server(tmp_path)
    await running.loader.load_all()
    yield running
    await running.engine.drain()
    running.engine.close()
    running.loader.close()
    os.close(running.descriptor)


async def test_each_gets_its_own_answer_in_its_own_length(server: Server) -> None:
    rng = np.random.default_rng(1)
    assert isinstance(server.catalog.route("m", "").lane, RaggedLane)
    asked, calls = [], []
    for turn in range(60):
        rows, length = int(rng.integers(1, 4)), int(rng.integers(1, 40))
        ids = rng.integers(0, 128, (rows, length))
        mask = np.ones_like(ids)
        # Some have padding of their own.
        mask[:, length // 2 + 1 :] = turn % 2
        asked.append((ids, mask))
        calls.append(server.ask(ids, mask))
    answers = await asyncio.gather(*(call.outcome for call in calls))
    known = np.random.default_rng(3).random((128, 4)).astype(np.float32)
    for (ids, mask), answer in zip(asked, answers, strict=True):
        tokens, mean = (
            np.frombuffer(raw, np.float32).reshape(output.shape)
            for raw, output in zip(answer.raw_output_contents, answer.outputs, strict=True)
        )
        assert np.array_equal(tokens, known[ids])
        weights = mask[:, :, None]
        np.testing.assert_allclose(mean, (known[ids] * weights).sum(1) / weights.sum(1), rtol=1e-5)
    counts = SegmentReader(server.descriptor).snapshot().slot("m", "1")
    assert counts.answered == 60
    assert counts.batches < 60
    assert 0 < counts.ragged_padding < counts.ragged_places


async def test_inputs_that_disagree_about_their_length_fail_alone(server: Server) -> None:
    good = [server.ask(np.full((1, length), 7), np.ones((1, length))) for length in (3, 5)]
    bad = server.ask(np.full((1, 4), 7), np.ones((1, 9)))
    good.append(server.ask(np.full((1, 8), 7), np.ones((1, 8))))
    outcomes = await asyncio.gather(bad.outcome, *(call.outcome for call in good))
    assert isinstance(outcomes[0], Exception)
    assert [list(answer.outputs[0].shape) for answer in outcomes[1:]] == [[1, 3, 4], [1, 5, 4], [1, 8, 4]]


def test_answers_that_depend_on_padding_keep_requests_apart(tmp_path: Path) -> None:
    found = load(write(tmp_path, masked=False))
    assert found.ragged is None
    assert "depends on its padding: output 'mean'" in found.ragged_reason
    assert found.batching.allowed, "rows of one length share a batch all the same"


def test_outputs_that_follow_the_length_are_found(tmp_path: Path) -> None:
    found = load(write(tmp_path))
    assert found.ragged is not None
    assert found.ragged.cuts == (1, None)
    assert found.ragged_reason == "4 rows gave the same answers padded and not padded"
    assert load(write(tmp_path, manifest="")).ragged_reason == ""


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ('[[input]]\nname = "ids"\nragged = true\n', "'tokens'|depends|checked"),
        (RAGGED.replace("ragged = true\n", 'ragged = true\npad_side = "left"\n', 1), "before their rows"),
        (RAGGED + "shape = [-1, 7]\n", "one open dimension"),
    ],
)
def test_what_cannot_be_padded_says_why(tmp_path: Path, manifest: str, reason: str) -> None:
    found = load(write(tmp_path, manifest=manifest))
    assert found.ragged is None
    assert any(part in found.ragged_reason for part in reason.split("|")), found.ragged_reason


def test_ragged_is_for_inputs_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="'idz' is not in the graph"):
        load(write(tmp_path, manifest='[[input]]\nname = "idz"\nragged = true\n'))


def test_padding_before_the_rows(tmp_path: Path) -> None:
    left = RAGGED.replace("ragged = true\n", 'ragged = true\npad_side = "left"\n')
    found = load(write(tmp_path, manifest=left))
    assert found.ragged is not None
    assert found.ragged.left


def test_costs_by_length_are_kept_and_damaged_files_are_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, costs = write(tmp_path / "m"), tmp_path / "costs"
    found = load(path, costs)
    lane = RaggedLane("m", found.policy, found.cost)
    for _ in range(500):
        lane.lengths.observe(1, 40, 5_000_000)
    Costs(costs).keep(found.cost_conditions, found.cost.kept())
    again = load(path, costs)
    assert 48 in again.cost.lengths()
    assert again.cost.predict_ns(1, (48,)) > 10 * again.cost.predict_ns(1, (16,))  # type: ignore[operator]
    (file,) = costs.iterdir()
    for content in (
        "{",
        "[]",
        '{"conditions": [], "costs": {}}',
        file.read_text().replace("beside", "besides"),
    ):
        file.write_text(content)
        assert 48 not in load(path, costs).cost.lengths()
    file.write_bytes(b" " * (2 << 20))
    assert Costs(costs).find(found.cost_conditions) is None


def test_what_several_workers_learn_is_found_together(tmp_path: Path) -> None:
    """Each writes a file of its own, and one that died while it wrote spoils nothing."""
    path, costs = write(tmp_path / "m"), tmp_path / "costs"
    conditions = load(path, costs).cost_conditions
    for worker, length in enumerate((40, 90)):
        found = load(path, tmp_path / f"none-{worker}")
        lane = RaggedLane("m", found.policy, found.cost)
        for _ in range(100):
            lane.lengths.observe(1, length, 5_000_000)
        Costs(costs, worker, 2).keep(conditions, found.cost.kept())
    half, old = costs / "half.1.part", costs / "old.1.part"
    for part in (half, old):
        part.write_text('{"conditions": [')
    os.utime(old, (0, 0))
    third = Costs(costs, 2, 3)
    kept = third.find(conditions)
    assert kept is not None
    assert {(48,), (96,)} <= {curve.shape for curve in kept.curves}
    third.keep(conditions, kept)
    assert len(list(costs.glob("*.json"))) == 3
    assert half.exists(), "its writer may be there"
    assert not old.exists()
    (damaged,) = costs.glob("*.1.json")
    damaged.write_text("{")
    kept = Costs(costs, 1, 2).find(conditions)
    assert kept is not None
    assert (48,) in {curve.shape for curve in kept.curves}


async def test_what_served_versions_learn_is_kept(server: Server, tmp_path: Path) -> None:
    directory = tmp_path / "costs"
    keeping = CostKeeping(server.catalog, Costs(directory))
    await keeping.keep(1)
    assert list(directory.iterdir()) == [], "nothing has run"
    await server.ask(np.full((1, 70), 7), np.ones((1, 70))).outcome
    await keeping.keep(1)
    (file,) = directory.iterdir()
    kept = Costs(directory).find(server.catalog.route("m", "").cost_conditions)
    assert kept is not None
    assert (96,) in {curve.shape for curve in kept.curves}
    before = file.stat().st_mtime_ns
    await keeping.keep(1)
    assert file.stat().st_mtime_ns == before, "nothing is new"


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    left=st.booleans(),
    inner=st.integers(1, 3),
    pad=st.sampled_from([0, -1, 7]),
)
def test_what_is_padded_and_cut_again_is_what_it_was(
    lengths: list[int], left: bool, inner: int, pad: int
) -> None:
    ragged = Ragged((RaggedInput(1, Pad(pad, left)),), (0,), left, (1,))
    longest = max(lengths)
    target = np.full((len(lengths), longest, inner), 99, np.int32)
    rows = [np.arange(length * inner, dtype=np.int32).reshape(1, length, inner) for length in lengths]
    for place, own in enumerate(rows):
        ragged.write(target[place : place + 1], 0, own)
    assert 99 not in target
    for place, own in enumerate(rows):
        assert np.array_equal(ragged.cut(0, target[place : place + 1], own.shape[1]), own)
        assert (target[place] == pad).sum() >= (longest - own.shape[1]) * inner
