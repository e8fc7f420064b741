"""The table of benchmarks: `python -m benchmarks` runs what is in it, in this order."""

from collections.abc import Sequence

from benchmarks.benchmark import Benchmark, Group

MICRO, SERVED, LIFE, PEERS = Group.MICRO, Group.SERVED, Group.LIFE, Group.PEERS

BENCHMARKS = (
    Benchmark(
        "wire",
        "decoding and encoding, against protobuf messages",
        MICRO,
        "wire",
        "measure",
        {"rounds": 3},
    ),
    Benchmark(
        "observe",
        "histograms, tickets, decision ids and a scrape",
        MICRO,
        "observe",
        "measure",
        {"rounds": 3},
    ),
    Benchmark("engine", "the engine without a transport", MICRO, "engine", "measure", {"rounds": 3}),
    Benchmark(
        "rooms",
        "the engine room by room: decode, batcher, fill, run, encode, count",
        MICRO,
        "rooms",
        "measure",
        {"rounds": 3},
    ),
    Benchmark(
        "image",
        "pipelines: files to tensors, against Pillow and OpenCV",
        MICRO,
        "image",
        quick={"rounds": 5},
    ),
    Benchmark(
        "tabular",
        "pipelines: rows to features, against scikit-learn",
        MICRO,
        "tabular",
        "measure",
        {"quick": True},
    ),
    Benchmark(
        "sealing",
        "sealing the journal: bytes and time a record",
        MICRO,
        "sealing",
        quick={"records": 50_000},
    ),
    Benchmark(
        "front",
        "our front against a sketch of a transport, and grpc.aio",
        SERVED,
        "front",
        quick={"rounds": 1, "requests": 4_000},
    ),
    Benchmark(
        "serving",
        "tiny over the wire, against a grpc.aio handler that does nothing",
        SERVED,
        "serving",
        quick={"rounds": 2, "requests": 4_000},
    ),
    Benchmark(
        "workers",
        "two workers behind one port, against one",
        SERVED,
        "workers",
        quick={"rounds": 1, "requests": 4_000},
    ),
    Benchmark(
        "evidence",
        "every decision recorded, against none",
        SERVED,
        "evidence",
        quick={"rounds": 1, "requests": 4_000, "seconds": 1.0},
    ),
    Benchmark(
        "capture",
        "requests and answers kept, against none",
        SERVED,
        "capture",
        quick={"rounds": 1, "requests": 4_000},
    ),
    Benchmark(
        "messages",
        "large messages, against grpc.aio",
        SERVED,
        "messages",
        quick={"rounds": 1, "scale": 0.1},
    ),
    Benchmark(
        "clients",
        "our clients against grpcio's",
        SERVED,
        "clients",
        quick={"rounds": 1, "seconds": 0.5},
    ),
    Benchmark(
        "threads",
        "how bare ONNX Runtime uses two cores best",
        MICRO,
        "threads",
        quick={"rounds": 1, "seconds": 0.2},
    ),
    Benchmark(
        "gpu",
        "staged batches and CUDA graphs, against plain host arrays",
        MICRO,
        "gpu",
        quick={"rounds": 1, "seconds": 0.1, "batches": (1, 4)},
    ),
    Benchmark(
        "switching",
        "the interpreter's switch interval, beside a busy loop",
        SERVED,
        "switching",
        quick={"rounds": 1, "seconds": 0.5},
    ),
    Benchmark(
        "real",
        "real models, against bare ONNX Runtime",
        SERVED,
        "real",
        quick={"rounds": 2, "seconds": 1.0},
    ),
    Benchmark(
        "batching",
        "batching on against off, and the tail against an ideal queue",
        SERVED,
        "batching",
        quick={"rounds": 1, "seconds": 0.5, "concurrency": (1, 8), "tail_requests": 20},
    ),
    Benchmark(
        "ragged",
        "sentences of different length, against an optimum that knows all of them",
        SERVED,
        "ragged",
        quick={"rounds": 1, "requests": 200},
    ),
    Benchmark(
        "overlap",
        "image models: preparing beside running",
        SERVED,
        "overlap",
        quick={"rounds": 2, "seconds": 1.0},
    ),
    Benchmark(
        "demo-files",
        "raw files, against tensors that the client prepared",
        SERVED,
        "demo_files",
        quick={"rounds": 2, "files": 200},
    ),
    Benchmark(
        "start",
        "from the start of the process to the first answer",
        LIFE,
        "start",
        quick={"rounds": 1},
    ),
    Benchmark("many", "many models", LIFE, "many", quick={"models": 200}),
    Benchmark("rollback", "rollbacks under full load", LIFE, "rollback", quick={"rollbacks": 10}),
    Benchmark(
        "swap",
        "a large version swapped beside another model's load",
        LIFE,
        "swap",
        quick={"swaps": 2},
    ),
    Benchmark(
        "shadowed",
        "a shadow beside the version in production",
        LIFE,
        "shadowed",
        quick={"rounds": 1, "seconds": 3.0},
    ),
    Benchmark(
        "soak",
        "millions of calls, and whether memory stands still",
        LIFE,
        "soak",
        quick={"calls": 300_000},
    ),
    Benchmark(
        "explain",
        "one decision among ten million, and a search over a day of them",
        LIFE,
        "explain",
        quick={"records": 200_000, "rounds": 1},
    ),
    Benchmark(
        "peers",
        "tiny, served by others",
        PEERS,
        "peers.compare",
        quick={"rounds": 1, "seconds": 0.5},
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
