"""Decoding and encoding, native against generated protobuf messages: `python -m benchmarks wire`.

Both do the same work: from bytes to name, datatype, shape and a content ready for NumPy, held against
the model's signature; and from a batch's output arrays to response bytes. It favours the native codec in
that the messages are driven from Python, as a server in Python has to, and both in that bodies and names
are warm in the caches. Responses of more than a few hundred bytes are dominated by malloc where it gives
memory back to the system after each batch; MALLOC_TRIM_THRESHOLD_=536870912 in the environment shows
them without that.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.benchmark import Chart
from steelyard import wire
from steelyard.wire.generated.grpc_service import ModelInferRequest, ModelInferResponse

ROUNDS = 9
ROUND_NS = 60_000_000
DECISION_ID = "01936f4e-7c1b-7d3a-9a40-3f1f5f0c9b11"
DIGEST = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


@dataclass(frozen=True)
class Case:
    """A tensor that is both the request's input and the response's output."""

    name: str
    datatype: str
    dtype: str
    row_shape: tuple[int, ...]
    # Responses encoded together; fewer where a row is large, so that a batch stays in the cache.
    batch: int


CASES = (
    Case("FP32 [1,16]", "FP32", "<f4", (16,), 64),
    Case("INT32 [1,2048]", "INT32", "<i4", (2048,), 64),
    Case("FP32 [1,3,224,224]", "FP32", "<f4", (3, 224, 224), 4),
    Case("BYTES [8]", "BYTES", "", (8,), 64),
)
WORDS = [f"element number {i}" for i in range(8)]


def request_body(case: Case) -> bytes:
    message = ModelInferRequest(model_name="tiny", id="4711")
    if case.datatype == "BYTES":
        message.inputs.add(name="x", datatype="BYTES", shape=case.row_shape)
        message.raw_input_contents.append(wire.encode_bytes_tensor(WORDS))
    else:
        message.inputs.add(name="x", datatype=case.datatype, shape=(1, *case.row_shape))
        message.raw_input_contents.append(np.ones(case.row_shape, case.dtype).tobytes())
    return message.SerializeToString()


def native_decode(case: Case) -> Callable[[], object]:
    batched = case.datatype != "BYTES"
    dims = (-1, *case.row_shape) if batched else case.row_shape
    signature = wire.Signature([("x", case.datatype, dims)], batched)
    body = request_body(case)

    def decode() -> object:
        request = wire.decode_request(body)
        bound = signature.bind(request)
        if case.datatype == "BYTES":
            wire.decode_bytes_tensor(request.inputs[0])
        return bound

    return decode


def generated_decode(case: Case) -> Callable[[], object]:
    body = request_body(case)

    def decode() -> object:
        message = ModelInferRequest.FromString(body)
        contents = iter(message.raw_input_contents)
        tensors = []
        for tensor in message.inputs:
            raw = next(contents)
            shape = tuple(tensor.shape)
            if tensor.datatype == "BYTES":
                content: object = wire.decode_bytes_tensor(raw)
            else:
                content = np.frombuffer(raw, case.dtype).reshape(shape)
            tensors.append((tensor.name, tensor.datatype, shape, content))
        return message.model_name, message.model_version, message.id, tensors

    return decode


def native_encode(case: Case) -> Callable[[], object]:
    request = wire.decode_request(request_body(case))
    if case.datatype == "BYTES":
        parameters = {"steelyard_decision_id": DECISION_ID, "steelyard_model_digest": DIGEST}

        def encode_strings() -> object:
            return [
                wire.encode_response(
                    "tiny",
                    "1",
                    request.id,
                    parameters,
                    [("y", "BYTES", (8,), wire.encode_bytes_tensor(WORDS))],
                )
                for _ in range(case.batch)
            ]

        return encode_strings
    encoder = wire.ResponseEncoder("tiny", "1", DIGEST, [("y", case.datatype)])
    array = np.ones((case.batch, *case.row_shape), case.dtype)
    requests = [request] * case.batch
    rows = [1] * case.batch
    decisions = [DECISION_ID] * case.batch
    return lambda: encoder.encode_batch(requests, rows, decisions, [array], [case.row_shape], True)


def generated_encode(case: Case) -> Callable[[], object]:
    strings = case.datatype == "BYTES"
    array: Array = np.ones((case.batch, *case.row_shape), case.dtype or "u1")

    def encode() -> object:
        bodies = []
        for row in range(case.batch):
            message = ModelInferResponse(model_name="tiny", model_version="1", id="4711")
            message.parameters["steelyard_decision_id"].string_param = DECISION_ID
            message.parameters["steelyard_model_digest"].string_param = DIGEST
            if strings:
                message.outputs.add(name="y", datatype="BYTES", shape=case.row_shape)
                message.raw_output_contents.append(wire.encode_bytes_tensor(WORDS))
            else:
                part = array[row : row + 1]
                message.outputs.add(name="y", datatype=case.datatype, shape=part.shape)
                message.raw_output_contents.append(part.tobytes())
            bodies.append(message.SerializeToString())
        return bodies

    return encode


def repetitions(run: Callable[[], object]) -> int:
    """How often a round calls `run`, so that it takes about ROUND_NS."""
    count = 1
    while True:
        started = time.perf_counter_ns()
        for _ in range(count):
            run()
        took_ns = time.perf_counter_ns() - started
        if took_ns > ROUND_NS // 10:
            return max(1, count * ROUND_NS // took_ns)
        count *= 4


def compare_ns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Nanoseconds a call of each in every round, in turn so that what disturbs one disturbs the others."""
    counts = {name: repetitions(run) for name, run in runs.items()}
    took: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    for _ in range(rounds):
        for name, run in runs.items():
            repeated = range(counts[name])
            started = time.perf_counter_ns()
            for _ in repeated:
                run()
            took[name].append((time.perf_counter_ns() - started) / counts[name])
    return took


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, list[float]]]:
    """By case: nanoseconds a request or response in every round, of both."""
    found: dict[str, dict[str, list[float]]] = {}
    for case in CASES:
        decode = compare_ns({"native": native_decode(case), "generated": generated_decode(case)}, rounds)
        encode = compare_ns({"native": native_encode(case), "generated": generated_encode(case)}, rounds)
        found[case.name] = {
            **{f"decode, {name}": took for name, took in decode.items()},
            **{f"encode, {name}": [ns / case.batch for ns in took] for name, took in encode.items()},
        }
    return found


def report(found: dict[str, Any]) -> list[str]:
    """ns a request (decode, bind) and a response (of a batch), medians, and the ratio of each round."""
    lines = [
        "| tensor | decode, ns | messages | times (spread) | encode, ns | messages | times (spread) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, took in found.items():
        cells = [name]
        for way in ("decode", "encode"):
            native, generated = took[f"{way}, native"], took[f"{way}, generated"]
            ratios = [slow / fast for fast, slow in zip(native, generated, strict=True)]
            cells += [
                f"{statistics.median(native):,.0f}",
                f"{statistics.median(generated):,.0f}",
                f"{statistics.median(ratios):.1f} ({min(ratios):.1f}–{max(ratios):.1f})",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def charts(found: dict[str, Any]) -> list[Chart]:
    """A chart a tensor."""
    return [Chart(name, "ns a message", took) for name, took in found.items()]
