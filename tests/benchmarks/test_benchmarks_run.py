"""The quick form of the benchmarks: that they run, that everything was answered, and what is no matter of time."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    batching,
    capture,
    clients,
    demo_files,
    engine,
    explain,
    front,
    gpu,
    many,
    messages,
    overlap,
    ragged,
    real,
    rollback,
    rooms,
    sealing,
    serving,
    shadowed,
    soak,
    swap,
    switching,
    tabular,
    threads,
    workers,
)
from benchmarks.pictures import picture_models
from benchmarks.real_models import RealModel, real_models


@pytest.mark.extra
def test_serving_against_the_ceiling() -> None:
    found = serving.run(rounds=1, requests=800)
    assert set(found) == {*serving.SHAPES, "mean_batch_rows"}
    assert len(serving.report(found)) == 2 + len(serving.SHAPES)


@pytest.mark.extra
def test_our_front_against_a_sketch_and_grpcio() -> None:
    shapes = {name: front.SHAPES[name] for name in ("64 on 4", "1")}
    found = front.run(rounds=1, requests=1_000, shapes=shapes)
    assert len(front.report(found)) == 2 + len(shapes)


@pytest.mark.extra
def test_two_workers_against_one() -> None:
    found = workers.run(rounds=1, requests=2_000)
    assert len(workers.report(found)) == 2 + len(workers.SHAPES)


@pytest.mark.extra
def test_what_capture_costs() -> None:
    found = capture.run(rounds=1, requests=1_000)
    assert sum(found["all"]["outcomes"].values()) > 0
    assert sum(found["none"]["outcomes"].values()) == 0
    assert len(capture.report(found)) == 2 + len(capture.MODELS)


@pytest.mark.extra
def test_threads_of_bare_runs_and_what_pools_cost() -> None:
    found = threads.run(rounds=1, seconds=0.1, models=real_models()[:1])
    assert set(found["pools"]) == set(threads.POOLS)
    assert found["pools"]["own"]["threads"] == threads.SESSIONS
    assert len(threads.report(found)) == 6 + len(threads.POOLS)


@pytest.mark.extra
def test_staging_says_what_it_ran_on() -> None:
    found = gpu.run(rounds=1, seconds=0.02, batches=(2,), chosen=gpu.models()[:1])
    lines = gpu.report(found)
    assert len(lines) == 3 + len(gpu.AT_A_TIME)
    on_cpu = "CUDAExecutionProvider" not in found["providers"]
    assert lines[0].startswith("NO GPU: ") is on_cpu
    assert all((gpu.GRAPHS in row["ways"]) is not on_cpu for row in found["rows"])


@pytest.mark.extra
def test_the_switch_interval_beside_a_busy_loop() -> None:
    found = switching.run(rounds=1, seconds=0.3)
    assert len(switching.report(found)) == 2 + len(switching.INTERVALS_S)


@pytest.mark.extra
def test_large_messages_hold_less_than_three_of_them() -> None:
    found = messages.run(rounds=1, sizes=messages.SIZES[1:3], scale=0.02)
    assert len(messages.report(found)) == 2 + len(found)
    assert all(row["messages_held"]["front"] < 3 for row in found.values())


@pytest.mark.extra
def test_our_clients_against_grpcios() -> None:
    found = clients.run(rounds=1, seconds=0.1, loops=["uvloop"], in_flights=[4])
    assert len(clients.report(found)) == 2 + len(found)
    assert all(row["own"]["calls_per_s"] > 0 for row in found.values())


@pytest.mark.extra
def test_real_models_against_bare_onnx_runtime() -> None:
    model = replace(real_models()[0], batches=(1, 2))
    found = real.run(rounds=1, seconds=0.2, models=[model])
    assert found[model.name]["mean_batch_rows"] >= 1
    assert len(real.report(found)) == 3


@pytest.mark.extra
@pytest.mark.parametrize("model", real_models(), ids=lambda model: model.name)
def test_real_models_give_numbers_that_depend_on_their_input(model: RealModel, tmp_path: Path) -> None:
    run = real.session(model.save(tmp_path), 1).run
    row = model.inputs(1)
    other = {name: values[..., ::-1].copy() for name, values in row.items()}
    one, many, another = run(None, row)[0], run(None, model.inputs(2))[0], run(None, other)[0]
    assert np.isfinite(one).all()
    assert many.shape == (2, *one.shape[1:])
    np.testing.assert_allclose(many[1:], one, rtol=1e-3, atol=1e-4)
    assert np.abs(another - one).max() > 0


@pytest.mark.extra
def test_batching_on_against_off_and_the_tail() -> None:
    found = batching.run(("tiny",), rounds=1, seconds=0.2, concurrency=(1, 4))
    assert set(found) == {"tiny"}
    assert found["tiny"]["open"]["failed"] == 0
    assert len(batching.report(found)) == 7


@pytest.mark.extra
def test_sentences_against_an_optimum() -> None:
    found = ragged.run(rounds=1, requests=40, cost_runs=1)
    assert found["mean_batch_rows"] >= 1
    assert 0 <= found["padding"] < 0.5
    assert len(ragged.report(found)) == 3 + len(found["rates"])


@pytest.mark.extra
def test_images_are_prepared_beside_runs() -> None:
    found = overlap.run(rounds=1, seconds=0.5, models=picture_models()[:1], ways=overlap.WAYS[:1])
    for row in found.values():
        assert row["timeline"]["prepared_beside_runs"] > 0
    assert any("prepares a request" in line for line in overlap.report(found))


def test_raw_files_are_answered_as_tensors_that_clients_prepare() -> None:
    """It compares every label before it says how fast they came."""
    found = demo_files.run(rounds=1, files=40)
    assert found["files"] == 40
    assert len(demo_files.report(found)) == 6


@pytest.mark.extra
def test_rows_to_features_are_those_of_scikit_learn() -> None:
    """Every bit of 20,000 flights is compared before anything is measured."""
    found = tabular.measure(quick=True)
    assert set(found) == {"1,000", "1"}
    assert len(tabular.report(found)) == 9


@pytest.mark.extra
def test_rollbacks_under_full_load_fail_nobody_and_are_in_force_at_once() -> None:
    found = rollback.run(10)
    assert found["failed"] == found["wrong_version"] == 0
    assert found["checked"] > 100
    assert len(rollback.report(found)) == 2


@pytest.mark.extra
def test_a_large_version_is_swapped_beside_another_models_load() -> None:
    found = swap.run(swaps=1, rate=200.0)
    assert found["megabytes"] > 80
    assert found["failed"] == 0
    assert found["during"] > 0


@pytest.mark.extra
def test_shadows_that_agree_and_that_hang_fail_nobody() -> None:
    found = shadowed.run(rounds=1, seconds=1.5)
    assert found["failed"] == 0
    assert found["compared"] > 0
    assert len(shadowed.report(found)) == 6


@pytest.mark.extra
def test_a_soak_with_callers_who_go_away() -> None:
    found = soak.run(100_000)
    assert found["outcomes"]["answered"] >= found["requests"]
    assert found["outcomes"]["cancelled"] > 0 < found["outcomes"]["refused"]
    assert found["outcomes"]["failed"] == 0
    assert found["last_mib"] < found["settled_mib"] + 5


def test_many_models_have_no_threads_and_little_memory_of_their_own() -> None:
    found = many.run(150)
    assert found["threads"] <= 64
    assert found["worker_mib"] < 300


def test_the_engine_and_its_rooms() -> None:
    found = asyncio.run(engine.run(rounds=1, requests=4_000))
    assert found["mean_batch_rows"] > 30
    assert set(rooms.run()) == set(rooms.BUDGET)


@pytest.mark.extra
def test_sealed_records_take_few_bytes() -> None:
    found = {one["kind"]: one for one in sealing.run(50_000)}
    assert found["random request ids"]["bytes"] <= 60
    assert found["trace ids, random request ids"]["bytes"] <= 140 - 64
    assert sealing.report(list(found.values()))


@pytest.mark.extra
def test_explaining_and_searching() -> None:
    found = explain.run(50_000, 1)
    assert (found["files"], round(found["notes"], -2)) == (2, 5_000)
    assert len(found["seconds"]) == 6
    assert explain.report(found)
