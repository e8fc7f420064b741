"""Gates of single rooms, each by the CPU time that it takes in this process: codec, counting, engine, pipelines."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import uvloop
from prometheus_client import CollectorRegistry, Histogram

from benchmarks import engine, wire
from benchmarks.gates.gate import ROUND_S, Gate, Sides, both, cpu_cost
from benchmarks.gates.reference import BATCH, ReferenceLoop
from benchmarks.photo import picture
from benchmarks.tiny import save_tiny, tiny_request
from steelyard._native import observe as native
from steelyard.observe.segment_file import create_segment
from steelyard.pipelines.tabular.declaration import TabularTable
from steelyard.pipelines.tabular.json_source import JsonSource
from steelyard.pipelines.tabular.plan import compile_plan
from steelyard.wire import decode_bytes_tensor, decode_request, encode_bytes_tensor
from steelyard.wire.generated.grpc_service import ModelInferRequest

# One row of sixteen floats: what a request costs beside its content.
CASE = wire.CASES[0]
STAGES = ("decode", "queue", "assemble", "execute", "encode", "total")
ROWS = 200
COLUMNS = 10


def decoding(ours: Callable[[], object] | None = None) -> contextlib.AbstractContextManager[Sides]:
    """A request decoded and held against the signature, by us or `ours`, and by protobuf messages."""
    return both(cpu_cost(ours or wire.native_decode(CASE)), cpu_cost(wire.generated_decode(CASE)))


def encoding() -> contextlib.AbstractContextManager[Sides]:
    """A batch's outputs to answers."""
    return both(cpu_cost(wire.native_encode(CASE)), cpu_cost(wire.generated_encode(CASE)))


@contextlib.contextmanager
def counting(module: ModuleType = native) -> Iterator[Sides]:
    """Six stages of a request in a batch of BATCH, and six `Histogram.observe` of `prometheus_client`."""
    descriptor = create_segment("gate")
    try:
        slot = module.Segment(descriptor, os.getpid(), time.time_ns()).slot("tiny", "1")
        tickets = [module.Ticket(None, None, 1, None, 977 * i, 977 * i + 800, 0, 0, 64) for i in range(BATCH)]
        histogram = Histogram("stage_seconds", "The same stages.", ["stage"], registry=CollectorRegistry())
        stages = [histogram.labels(stage) for stage in STAGES]

        def observe() -> None:
            for stage in stages:
                stage.observe(0.000_081)

        yield Sides(
            cpu_cost(
                lambda: slot.record_batch(tickets, BATCH, 90_000, 91_000, 121_000, 124_000, 7), units=BATCH
            ),
            cpu_cost(observe),
        )
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def running(burden: Callable[[], object] | None = None) -> Iterator[Sides]:
    """The engine with 64 in flight, everything on, and the fixed loop; `burden` is done before each of its rounds."""
    with tempfile.TemporaryDirectory() as temporary:
        loop = uvloop.new_event_loop()
        work = engine.engine_at_work()
        bench, _ = loop.run_until_complete(work.__aenter__())
        try:
            reference = ReferenceLoop(save_tiny(Path(temporary)) / "model.onnx", tiny_request())
            # Two µs each, about as long as a round of the other side.
            requests = int(ROUND_S / 2e-6)

            def ours() -> float:
                began = time.process_time()
                loop.run_until_complete(bench.answers(requests, engine.IN_FLIGHT))
                if burden is not None:
                    burden()
                return (time.process_time() - began) / requests

            yield Sides(ours, cpu_cost(reference.batch, units=BATCH))
        finally:
            loop.run_until_complete(work.__aexit__(None, None, None))
            loop.close()


@contextlib.contextmanager
def reading_rows() -> Iterator[Sides]:
    """Rows of JSON objects to features, from a request's bytes, and `json.loads` of the same objects alone."""
    names = [f"c{number}" for number in range(COLUMNS)]
    rng = np.random.default_rng(5)
    objects = [
        json.dumps(dict(zip(names, row, strict=True))) for row in rng.normal(size=(ROWS, COLUMNS)).tolist()
    ]
    message = ModelInferRequest(model_name="rows")
    message.inputs.add(name="rows", datatype="BYTES", shape=[ROWS])
    message.raw_input_contents.append(encode_bytes_tensor(objects))
    body = message.SerializeToString()
    document = {
        "rows": "json",
        "column": [{"name": name, "kind": "number"} for name in names],
        "tensor": [{"name": "x", "datatype": "FP64", "feature": [{"columns": names}]}],
    }
    table = TabularTable.model_validate(document)
    source, plan = JsonSource(table.column), compile_plan(table)
    out = np.empty((ROWS, plan.tensors["x"].width))

    def ours() -> None:
        plan.run(source.read(decode_request(body).inputs[0]), out)

    def reference() -> None:
        for element in decode_bytes_tensor(decode_request(body).inputs[0]):
            json.loads(element)

    yield Sides(cpu_cost(ours, ROWS), cpu_cost(reference, ROWS))


@contextlib.contextmanager
def reading_pictures() -> Iterator[Sides]:
    """A JPEG to a normalised tensor, decoded reduced, and Pillow's `draft` with NumPy."""
    # OpenCV comes with it, which the other gates do without.
    from benchmarks.image import Ours, pillow_chain

    data = picture(2.5)
    ours = Ours(data)
    yield Sides(cpu_cost(lambda: ours.chain(scaled=True)), cpu_cost(lambda: pillow_chain(data, draft=True)))


ROOMS = (
    Gate("decode", "a request decoded: native ÷ protobuf messages", decoding),
    Gate("encode", "an answer encoded: native ÷ protobuf messages", encoding),
    Gate("count", "six stages counted: native ÷ prometheus_client", counting),
    Gate("engine", "the engine without a transport ÷ a fixed loop", running),
    Gate("rows", "JSON rows to features ÷ json.loads of the same rows", reading_rows),
    Gate("picture", "a JPEG to a tensor ÷ Pillow's draft and NumPy", reading_pictures),
)
