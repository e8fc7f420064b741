"""Running golden examples: the whole way of a request, held against the answer that it has to get."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from google.protobuf.message import DecodeError

from steelyard.errors import LoadFailed, ManifestError, SteelyardError
from steelyard.models.datatypes import BY_NAME
from steelyard.models.golden import GoldenExample, read_golden
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.pipelines.plan import Pipeline
from steelyard.pipelines.tally import Tally
from steelyard.runtime.independence import difference
from steelyard.runtime.runner import Array, Runner
from steelyard.wire import Signature, decode_bytes_tensor, decode_request
from steelyard.wire.generated import grpc_service as pb

# A version that fails one golden example often fails all of them.
MAX_SHOWN = 5


Inputs = dict[str, Array]


def check_golden(
    path: Path, session: ort.InferenceSession, spec: ModelSpec, pipeline: Pipeline | None
) -> list[Inputs]:
    """Runs the golden examples of the version in `path`, each by itself; gives the model's inputs of each.

    Raises LoadFailed that names each that got another answer, ManifestError for an example that cannot be read.
    """
    examples = read_golden(path)
    failed = []
    met: list[Inputs] = []
    for example in examples:
        try:
            problem = run_example(example, session, spec, pipeline, met)
        except ManifestError:
            raise
        except SteelyardError as error:
            problem = str(error)
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            problem = " ".join(str(error).split())[:300]
        if problem:
            failed.append(f"{example.name!r}: {problem}")
    if failed:
        more = f"; and {len(failed) - MAX_SHOWN} more" if len(failed) > MAX_SHOWN else ""
        raise LoadFailed(
            f"{len(failed)} of {len(examples)} golden examples failed: {'; '.join(failed[:MAX_SHOWN])}{more}"
        )
    return met


def real_rows(met: list[Inputs], most: int) -> Inputs | None:
    """Up to `most` rows of the examples that have the first one's shapes; None where these are fewer than two."""
    if not met:
        return None
    first = met[0]
    alike = [
        inputs for inputs in met if all(inputs[name].shape[1:] == first[name].shape[1:] for name in first)
    ]
    rows = {name: np.concatenate([inputs[name] for inputs in alike])[:most] for name in first}
    return rows if all(len(array) > 1 for array in rows.values()) else None


def run_example(
    example: GoldenExample,
    session: ort.InferenceSession,
    spec: ModelSpec,
    pipeline: Pipeline | None,
    met: list[Inputs],
) -> str:
    """What is wrong with the answer to `example`, empty where nothing is; adds the model's inputs to `met`."""
    request: Any = decode_request(example.request)
    offered = spec if pipeline is None else pipeline.offered
    bound = Signature([(t.name, t.datatype, t.dims) for t in offered.inputs], spec.batched).bind(request)
    if bound is None:
        return "its request does not fit what the version takes"
    rows, key = bound
    tally = Tally(0)
    if pipeline is not None:
        tally = pipeline.tally()
        request = pipeline.prepare(request, rows, tally)
        key = request.key
    runner = Runner(session, spec, capacity=0, shared=False, prepared=pipeline is not None)
    runner.may_bind = False
    if pipeline is not None:
        rows = request.rows
    if pipeline is not None and not rows and request.kept is not None:
        return _compare(example, offered.outputs, pipeline.answer(request, pipeline.nothing()))
    shape, arrays = runner.fill([request], rows, key)
    met.append({tensor.name: array for tensor, array in zip(spec.inputs, arrays, strict=True)})
    outputs = runner.run(shape, arrays, rows)
    if pipeline is not None:
        outputs = pipeline.answer(request, pipeline.finish(outputs, rows, arrays, tally))
    return _compare(example, offered.outputs, outputs)


def _compare(example: GoldenExample, specs: tuple[TensorSpec, ...], outputs: list[Array]) -> str:
    try:
        expected = pb.ModelInferResponse.FromString(example.expected)
    except DecodeError as error:
        raise ManifestError(
            f"golden example {example.name!r}: expected.pb is no ModelInferResponse: {error}"
        ) from None
    if len(expected.outputs) != len(expected.raw_output_contents):
        raise ManifestError(f"golden example {example.name!r}: expected.pb lacks the contents of its outputs")
    by_name = {spec.name: (spec, array) for spec, array in zip(specs, outputs, strict=True)}
    for tensor, raw in zip(expected.outputs, expected.raw_output_contents, strict=True):
        if tensor.name not in by_name:
            return f"expected an output {tensor.name!r}, which the version does not have"
        spec, array = by_name[tensor.name]
        if tensor.datatype != spec.datatype:
            return f"output {tensor.name!r}: expected {tensor.datatype}, came {spec.datatype}"
        if list(tensor.shape) != list(array.shape):
            return f"output {tensor.name!r}: expected shape {list(tensor.shape)}, came {list(array.shape)}"
        if spec.datatype == "BYTES":
            came = [one.encode() if isinstance(one, str) else one for one in array.ravel().tolist()]
            if came != decode_bytes_tensor(raw):
                return f"output {tensor.name!r}: expected other texts than came"
            continue
        wanted = np.frombuffer(raw, BY_NAME[spec.datatype].dtype).reshape(array.shape)
        found = array
        if spec.datatype == "BF16":
            wanted, found = ((bits.astype(np.uint32) << 16).view(np.float32) for bits in (wanted, array))
        distance = difference(found, wanted, example.options.absolute, example.options.relative)
        if distance is not None:
            return f"output {tensor.name!r} differs by {distance}"
    return ""
