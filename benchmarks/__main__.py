"""Runs every benchmark and prints its table: `make bench`, or `python -m benchmarks [NAME ...] [--quick]`."""

import json
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import (
    clients,
    demo_files,
    engine,
    front,
    image,
    many,
    messages,
    observe,
    overlap,
    real,
    rollback,
    rooms,
    serving,
    shadowed,
    soak,
    swap,
    tabular,
    wire,
    workers,
)

RESULTS = Path(".bench")


def host() -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    packages = ("onnxruntime", "grpcio", "ngh2", "uvloop", "numpy", "protobuf")
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "load_average": os.getloadavg()[0],
        "unix_s": int(time.time()),
    }


def main() -> None:
    """Takes the names of benchmarks (none: all), and `--quick` for a short form of each."""
    quick = "--quick" in sys.argv
    names = [word for word in sys.argv[1:] if not word.startswith("-")]
    found: dict[str, Any] = {"host": host()}
    print(", ".join(f"{key} {value}" for key, value in found["host"].items()))
    if not names or "wire" in names:
        print("\nwire")
        wire.main()
    if not names or "observe" in names:
        print("\nobserve")
        observe.main()
    if not names or "image" in names:
        print("\nimages")
        found["image"] = image.run(5 if quick else image.ROUNDS)
        print("\n".join(image.report(found["image"])))
    if not names or "engine" in names:
        print("\nengine without a transport")
        found["engine"] = uvloop.run(engine.run(rounds=3 if quick else engine.ROUNDS))
        print("\n".join(engine.report(found["engine"])))
        print()
        found["rooms"] = rooms.run()
        print("\n".join(rooms.report(found["rooms"], found["engine"])))
    if not names or "serving" in names:
        print("\ntiny over the wire")
        found["serving"] = serving.run(rounds=2, requests=4_000) if quick else serving.run()
        print("\n".join(serving.report(found["serving"])))
    if not names or "front" in names:
        print("\nour front against a sketch of a transport, and grpc.aio")
        found["front"] = front.run(rounds=1, requests=4_000) if quick else front.run()
        print("\n".join(front.report(found["front"])))
    if not names or "workers" in names:
        print("\ntwo workers against one")
        found["workers"] = workers.run(rounds=1, requests=4_000) if quick else workers.run()
        print("\n".join(workers.report(found["workers"])))
    if not names or "messages" in names:
        print("\nlarge messages, against grpc.aio")
        found["messages"] = messages.run(rounds=1, scale=0.1) if quick else messages.run()
        print("\n".join(messages.report(found["messages"])))
    if not names or "clients" in names:
        print("\nour clients against grpcio's")
        found["clients"] = clients.run(rounds=1, seconds=0.5) if quick else clients.run()
        print("\n".join(clients.report(found["clients"])))
    if not names or "real" in names:
        print("\nreal models against bare ONNX Runtime")
        found["real"] = real.run(rounds=2, seconds=1.0) if quick else real.run()
        print("\n".join(real.report(found["real"])))
    if not names or "overlap" in names:
        print("\nimage models: preparing beside running")
        found["overlap"] = overlap.run(rounds=2, seconds=1.0) if quick else overlap.run()
        print("\n".join(overlap.report(found["overlap"])))
    if not names or "demo-files" in names:
        print("\nraw files against tensors that the client prepared")
        found["demo-files"] = demo_files.run(rounds=2, files=200) if quick else demo_files.run()
        print("\n".join(demo_files.report(found["demo-files"])))
    if not names or "tabular" in names:
        print("\nrows to features, against scikit-learn")
        found["tabular"] = tabular.measure(quick)
        print("\n".join(tabular.report(found["tabular"])))
    if not names or "many" in names:
        print("\nmany models")
        found["many"] = many.run(200 if quick else many.MODELS)
        print("\n".join(many.report(found["many"])))
    if not names or "rollback" in names:
        print("\nrollbacks under full load")
        found["rollback"] = rollback.run(10) if quick else rollback.run()
        print("\n".join(rollback.report(found["rollback"])))
    if not names or "swap" in names:
        print("\na large version swapped beside another model's load")
        found["swap"] = swap.run(swaps=2) if quick else swap.run()
        print("\n".join(swap.report(found["swap"])))
    if not names or "shadowed" in names:
        print("\na shadow beside the version in production")
        found["shadowed"] = shadowed.run(rounds=1, seconds=3.0) if quick else shadowed.run()
        print("\n".join(shadowed.report(found["shadowed"])))
    if not names or "soak" in names:
        print("\nsoak")
        found["soak"] = soak.run(300_000 if quick else 10_000_000)
        print("\n".join(soak.report(found["soak"])))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
