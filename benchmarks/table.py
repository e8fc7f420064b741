"""The table of benchmarks: `python -m benchmarks` runs what is in it, in this order."""

from collections.abc import Sequence
from functools import partial

from benchmarks import (
    batching,
    clients,
    demo_files,
    engine,
    front,
    gpu,
    image,
    many,
    messages,
    observe,
    overlap,
    ragged,
    real,
    rollback,
    rooms,
    serving,
    shadowed,
    soak,
    start,
    swap,
    switching,
    tabular,
    threads,
    wire,
    workers,
)
from benchmarks.benchmark import Benchmark, Group
from benchmarks.peers import compare

BENCHMARKS = (
    Benchmark(
        "wire",
        "decoding and encoding, against protobuf messages",
        Group.MICRO,
        wire.measure,
        partial(wire.measure, rounds=3),
        wire.report,
        wire.charts,
    ),
    Benchmark(
        "observe",
        "histograms, tickets, decision ids and a scrape",
        Group.MICRO,
        observe.measure,
        partial(observe.measure, rounds=3),
        observe.report,
        observe.charts,
    ),
    Benchmark(
        "engine",
        "the engine without a transport",
        Group.MICRO,
        engine.measure,
        partial(engine.measure, rounds=3),
        engine.report,
        engine.charts,
    ),
    Benchmark(
        "rooms",
        "the engine room by room: decode, batcher, fill, run, encode, count",
        Group.MICRO,
        rooms.measure,
        partial(rooms.measure, rounds=3),
        rooms.report,
        rooms.charts,
    ),
    Benchmark(
        "image",
        "pipelines: files to tensors, against Pillow and OpenCV",
        Group.MICRO,
        image.run,
        partial(image.run, 5),
        image.report,
        image.charts,
    ),
    Benchmark(
        "tabular",
        "pipelines: rows to features, against scikit-learn",
        Group.MICRO,
        tabular.measure,
        partial(tabular.measure, quick=True),
        tabular.report,
        tabular.charts,
    ),
    Benchmark(
        "front",
        "our front against a sketch of a transport, and grpc.aio",
        Group.SERVED,
        front.run,
        partial(front.run, rounds=1, requests=4_000),
        front.report,
        front.charts,
    ),
    Benchmark(
        "serving",
        "tiny over the wire, against a grpc.aio handler that does nothing",
        Group.SERVED,
        serving.run,
        partial(serving.run, rounds=2, requests=4_000),
        serving.report,
        serving.charts,
    ),
    Benchmark(
        "workers",
        "two workers behind one port, against one",
        Group.SERVED,
        workers.run,
        partial(workers.run, rounds=1, requests=4_000),
        workers.report,
    ),
    Benchmark(
        "messages",
        "large messages, against grpc.aio",
        Group.SERVED,
        messages.run,
        partial(messages.run, rounds=1, scale=0.1),
        messages.report,
        messages.charts,
    ),
    Benchmark(
        "clients",
        "our clients against grpcio's",
        Group.SERVED,
        clients.run,
        partial(clients.run, rounds=1, seconds=0.5),
        clients.report,
        clients.charts,
    ),
    Benchmark(
        "threads",
        "how bare ONNX Runtime uses two cores best",
        Group.MICRO,
        threads.run,
        partial(threads.run, rounds=1, seconds=0.2),
        threads.report,
        threads.charts,
    ),
    Benchmark(
        "gpu",
        "staged batches and CUDA graphs, against plain host arrays",
        Group.MICRO,
        gpu.run,
        partial(gpu.run, rounds=1, seconds=0.1, batches=(1, 4)),
        gpu.report,
        gpu.charts,
    ),
    Benchmark(
        "switching",
        "the interpreter's switch interval, beside a busy loop",
        Group.SERVED,
        switching.run,
        partial(switching.run, rounds=1, seconds=0.5),
        switching.report,
    ),
    Benchmark(
        "real",
        "real models, against bare ONNX Runtime",
        Group.SERVED,
        real.run,
        partial(real.run, rounds=2, seconds=1.0),
        real.report,
        real.charts,
    ),
    Benchmark(
        "batching",
        "batching on against off, and the tail against an ideal queue",
        Group.SERVED,
        batching.run,
        partial(batching.run, rounds=1, seconds=0.5, concurrency=(1, 8), tail_requests=20),
        batching.report,
    ),
    Benchmark(
        "ragged",
        "sentences of different length, against an optimum that knows all of them",
        Group.SERVED,
        ragged.run,
        partial(ragged.run, rounds=1, requests=200),
        ragged.report,
    ),
    Benchmark(
        "overlap",
        "image models: preparing beside running",
        Group.SERVED,
        overlap.run,
        partial(overlap.run, rounds=2, seconds=1.0),
        overlap.report,
        overlap.charts,
    ),
    Benchmark(
        "demo-files",
        "raw files, against tensors that the client prepared",
        Group.SERVED,
        demo_files.run,
        partial(demo_files.run, rounds=2, files=200),
        demo_files.report,
    ),
    Benchmark(
        "start",
        "from the start of the process to the first answer",
        Group.LIFE,
        start.run,
        partial(start.run, 1),
        start.report,
    ),
    Benchmark("many", "many models", Group.LIFE, many.run, partial(many.run, 200), many.report),
    Benchmark(
        "rollback",
        "rollbacks under full load",
        Group.LIFE,
        rollback.run,
        partial(rollback.run, 10),
        rollback.report,
    ),
    Benchmark(
        "swap",
        "a large version swapped beside another model's load",
        Group.LIFE,
        swap.run,
        partial(swap.run, swaps=2),
        swap.report,
    ),
    Benchmark(
        "shadowed",
        "a shadow beside the version in production",
        Group.LIFE,
        shadowed.run,
        partial(shadowed.run, rounds=1, seconds=3.0),
        shadowed.report,
    ),
    Benchmark(
        "soak",
        "millions of calls, and whether memory stands still",
        Group.LIFE,
        soak.run,
        partial(soak.run, 300_000),
        soak.report,
    ),
    Benchmark(
        "peers",
        "tiny, served by others",
        Group.PEERS,
        compare.run,
        partial(compare.run, rounds=1, seconds=0.5),
        compare.report,
        compare.charts,
    ),
)


def chosen(names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of those names and groups in the table's order; all of them where no name is given.

    Raises ValueError where a name is neither.
    """
    known = {benchmark.name for benchmark in BENCHMARKS} | {str(group) for group in Group}
    for name in names:
        if name not in known:
            raise ValueError(f"expected a benchmark or a group ({', '.join(sorted(known))}), came {name!r}")
    return [
        benchmark
        for benchmark in BENCHMARKS
        if not names or benchmark.name in names or benchmark.group in names
    ]
