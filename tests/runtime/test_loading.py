"""Loading real models: what may be batched and what may not, warm-up, kept verdicts, and what cannot be loaded."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from steelyard.clock import ManualClock
from steelyard.errors import LoadFailed, SteelyardError
from steelyard.models.manifest import ModelManifest
from steelyard.runtime.pace import MAX_PAUSE_NS, PAUSES, Pace
from steelyard.runtime.warmup import LEAST_ROWS_NS, measure
from steelyard.serving import loading
from steelyard.serving.loading import Environment, LoadedVersion, load_version
from steelyard.serving.verdicts import Verdicts
from tests.runtime import models


def load(path: Path, serving: dict[str, object] | None = None, verdicts: Path | None = None) -> LoadedVersion:
    manifest = ModelManifest.model_validate({"serving": serving or {}})
    return load_version("m", path, manifest, Environment(2, "dev", Verdicts(verdicts)))


def test_independent_rows_are_batched(tmp_path: Path) -> None:
    models.scaled(tmp_path)
    loaded = load(tmp_path)
    assert loaded.batching.allowed, loaded.batching.reason
    assert loaded.policy.max_batch == 64
    assert loaded.cost.measured[1] > 0
    assert loaded.bindable


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (models.centred, "depends on the rows beside it"),
        (models.noisy, "different answers twice"),
        (models.dynamically_quantized, "depends on the rows beside it"),
        (models.doubled, "for a batch of 4 rows"),
    ],
)
def test_what_cannot_be_batched_is_found_out(tmp_path: Path, make, reason: str) -> None:
    make(tmp_path)
    loaded = load(tmp_path)
    assert not loaded.batching.allowed
    assert reason in loaded.batching.reason
    assert loaded.policy.max_batch == 1


def test_the_manifest_overrules_the_check(tmp_path: Path) -> None:
    models.centred(tmp_path)
    assert load(tmp_path, {"batching": True}).batching.allowed
    models.scaled(tmp_path)
    assert not load(tmp_path, {"batching": False}).batching.allowed


def test_a_wide_tolerance_lets_dynamic_quantization_pass(tmp_path: Path) -> None:
    models.dynamically_quantized(tmp_path)
    assert load(tmp_path, {"batch_tolerance": {"absolute": 1e6, "relative": 0.0}}).batching.allowed


def test_no_batch_axis(tmp_path: Path) -> None:
    models.identity(tmp_path, TensorProto.FLOAT, [4])
    loaded = load(tmp_path)
    assert not loaded.batching.allowed
    assert loaded.batching.reason == "the model has no batch axis"


def test_token_models_are_tried_with_ids_inside_their_vocabulary(tmp_path: Path) -> None:
    models.embedding(tmp_path, vocabulary=2)
    assert load(tmp_path).batching.allowed


def test_each_input_of_whole_numbers_is_tried_within_its_own_bound(tmp_path: Path) -> None:
    models.centred_tokens(tmp_path, vocabulary=200, kinds=2)
    batching = load(tmp_path).batching
    assert not batching.allowed
    assert "depends on the rows beside it" in batching.reason


def test_rows_that_are_all_alike_show_nothing(tmp_path: Path) -> None:
    models.embedding(tmp_path, vocabulary=1)
    batching = load(tmp_path).batching
    assert not batching.allowed
    assert "all alike" in batching.reason


def test_a_verdict_is_not_trusted_under_other_session_options(tmp_path: Path) -> None:
    models.scaled(tmp_path / "a")
    kept = tmp_path / "verdicts"
    for options in ({}, {"graph_optimization": "off"}, {"graph_optimization": "off"}):
        load(tmp_path / "a", {"session_options": options}, verdicts=kept)
    assert len(list(kept.iterdir())) == 2
    load(tmp_path / "a", {"threads": 2}, verdicts=kept)
    assert len(list(kept.iterdir())) == 3


def test_a_verdict_is_kept_by_digest_and_not_trusted_for_another(tmp_path: Path) -> None:
    models.scaled(tmp_path / "a")
    models.centred(tmp_path / "b")
    kept = tmp_path / "verdicts"
    first = load(tmp_path / "a", verdicts=kept)
    assert load(tmp_path / "a", verdicts=kept).batching == first.batching
    assert len(list(kept.iterdir())) == 1
    assert not load(tmp_path / "b", verdicts=kept).batching.allowed
    next(iter(kept.iterdir())).write_text("{")
    assert load(tmp_path / "a", verdicts=kept).batching.allowed, "a broken file costs a check, nothing more"


@pytest.mark.parametrize("content", [b"", b"\x08\x08\x12", b"not a model"])
def test_a_broken_file_is_refused_with_a_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(LoadFailed, match=r"model\.onnx: (expected an|ONNX Runtime cannot load it: \S)"):
        load(tmp_path)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = models.embedding(tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(LoadFailed, match=r"model\.onnx: \S"):
        load(tmp_path)


def test_an_operator_that_does_not_exist(tmp_path: Path) -> None:
    models.save(
        tmp_path,
        [helper.make_node("Levitate", ["X"], ["Y"])],
        [("X", TensorProto.FLOAT, ["n"])],
        [("Y", TensorProto.FLOAT, ["n"])],
    )
    with pytest.raises(LoadFailed, match="Levitate"):
        load(tmp_path)


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    models.scaled(tmp_path)
    with pytest.raises(SteelyardError, match="CUDAExecutionProvider"):
        load(tmp_path, {"device": "cuda:0"})


def test_production_serves_nothing_that_nobody_owns(tmp_path: Path) -> None:
    models.scaled(tmp_path)
    with pytest.raises(LoadFailed, match="lacks owner, developed_by, validated_by, purpose, retire_on"):
        load_version("m", tmp_path, ModelManifest(), Environment(1, "production", Verdicts(None)))


def measured_with(cost_ns: Callable[[int], int], max_batch: int) -> dict[int, int]:
    """Warm-up over runs that cost what `cost_ns` says, by a clock that only they move."""
    clock = ManualClock()
    return measure(lambda rows: clock.advance(cost_ns(rows)), max_batch, now_ns=clock.now_ns)


def test_warm_up_stops_where_larger_batches_no_longer_pay() -> None:
    assert set(measured_with(lambda rows: 4_000_000 * rows * rows, 64)) == {1, 2}


def test_warm_up_tries_all_sizes_of_a_cheap_model_whatever_disturbs_one_of_them() -> None:
    measured = measured_with(lambda rows: 1_000_000 if rows == 4 else 1000 * rows, 16)
    assert set(measured) == {1, 2, 4, 8, 16}


def test_warm_up_is_not_ended_by_a_run_that_lost_its_core() -> None:
    lost = [7_000_000, 0]
    measured = measured_with(lambda rows: lost.pop() if rows == 4 and lost else 1000 * rows, 16)
    assert measured == {rows: 1000 * rows for rows in (1, 2, 4, 8, 16)}


def test_warm_up_reaches_the_largest_size_where_it_pays() -> None:
    measured = measured_with(lambda rows: 10_000 + rows, 48)
    assert measured == {rows: 10_000 + rows for rows in (1, 2, 4, 8, 16, 32, 48)}


def test_warm_up_ends_when_its_time_is_up() -> None:
    assert set(measured_with(lambda rows: 20_000_000 * rows, 64)) == {1, 2, 4}
    assert set(measured_with(lambda rows: 1_000_000_000 * rows, 64)) == {1}


@pytest.mark.parametrize("row_ms", [50, 80, 120, 400, 700])
def test_a_heavy_model_has_sizes_to_compare_and_its_warm_up_an_end(row_ms: int) -> None:
    heavy, alone = ManualClock(), ManualClock()
    measured = measure(lambda rows: heavy.advance(row_ms * 1_000_000 * rows), 64, now_ns=heavy.now_ns)
    assert measured == {rows: row_ms * 1_000_000 * rows for rows in ((1, 2, 4) if row_ms < 300 else (1, 2))}
    measure(lambda rows: alone.advance(row_ms * 1_000_000 * rows), 64, now_ns=alone.now_ns, least_rows_ns=0)
    assert heavy.now_ns() - alone.now_ns() <= LEAST_ROWS_NS


@pytest.mark.parametrize("row_us", [1, 200, 2_000, 10_000, 20_000])
def test_warm_up_of_a_lighter_model_takes_no_longer_for_that(row_us: int) -> None:
    took_ns = []
    for least_rows_ns in (0, LEAST_ROWS_NS):
        clock = ManualClock()
        began_ns = clock.now_ns()
        measure(
            lambda rows, clock=clock: clock.advance(row_us * 1_000 * rows),
            64,
            now_ns=clock.now_ns,
            least_rows_ns=least_rows_ns,
        )
        took_ns.append(clock.now_ns() - began_ns)
    assert took_ns[0] == took_ns[1]


def test_two_rows_that_are_dearer_than_one_end_the_sizes_of_a_heavy_model() -> None:
    assert set(measured_with(lambda rows: 100_000_000 * rows * rows, 64)) == {1, 2}


def test_runs_that_are_asked_for_before_take_nothing_from_what_is_measured() -> None:
    clock = ManualClock()
    measured = measure(lambda rows: clock.advance(5_000_000), 64, extra_runs=999, now_ns=clock.now_ns)
    assert set(measured) == {1, 2, 4, 8, 16, 32, 64}


def test_a_model_too_heavy_to_compare_sizes_says_that_its_rows_are_not_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.scaled(tmp_path)
    monkeypatch.setattr(loading, "measure", partial(measure, budget_ns=0, least_rows_ns=0))
    loaded = load(tmp_path)
    assert set(loaded.cost.measured) == {1}
    assert loaded.cost.efficient_rows == 1
    assert loaded.batching.allowed
    assert "only where preferred_batch_sizes says so" in loaded.batching.reason
    loaded = load(tmp_path, {"preferred_batch_sizes": [8]})
    assert loaded.cost.efficient_rows == 64
    assert "preferred" not in loaded.batching.reason
    assert "preferred" not in load(tmp_path, {"max_batch": 1}).batching.reason


def test_a_pace_that_gives_way_pauses_for_longer_than_a_step_took():
    clock = ManualClock()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(round(seconds * 1e9))

    pace = Pace(True, clock.now_ns, sleep)
    clock.advance(30_000_000)
    pace.pause()
    clock.advance(3_000_000_000)
    pace.pause()
    assert slept == [PAUSES * 0.03, MAX_PAUSE_NS / 1e9]
    assert pace.paused_ns == PAUSES * 30_000_000 + MAX_PAUSE_NS
    Pace(False, clock.now_ns, sleep).pause()
    assert len(slept) == 2


def test_pauses_between_warm_up_runs_count_for_nothing():
    clock = ManualClock()
    paced = Pace(True, clock.now_ns, lambda seconds: clock.advance(round(seconds * 1e9)))
    measured = measure(lambda rows: clock.advance(10_000_000 * rows), 64, now_ns=clock.now_ns, pace=paced)
    assert measured == measured_with(lambda rows: 10_000_000 * rows, 64)
    assert paced.paused_ns > 0
