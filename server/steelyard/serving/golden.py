"""Golden examples before a version serves: the whole way of a request, held against the answer that it has to get."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from google.protobuf.message import DecodeError

from steelyard.errors import LoadFailed, ManifestError, RepositoryError, SteelyardError
from steelyard.models.bfloat16 import from_bfloat16
from steelyard.models.datatypes import BY_NAME
from steelyard.models.golden import GoldenExample, golden_paths, read_example, show_failing
from steelyard.models.spec import ModelSpec
from steelyard.pipelines.plan import Pipeline
from steelyard.runtime.independence import difference
from steelyard.runtime.runner import Array
from steelyard.serving.takes import Takes
from steelyard.serving.walk import Walk, walk
from steelyard.wire import decode_bytes_tensor, decode_request
from steelyard.wire.generated import grpc_service as pb

Inputs = dict[str, Array]

MISFIT = "its request does not fit what the version takes"


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of the golden examples of a version that is being loaded."""

    inputs: list[Inputs]
    """The model's inputs of each that could be run."""
    passed: int
    failing: dict[str, str]
    """Names, and what is wrong with the answer."""


def check_golden(
    path: Path,
    session: ort.InferenceSession,
    spec: ModelSpec,
    pipeline: Pipeline | None,
    takes: Takes,
    refuse: bool,
) -> Tried:
    """Runs the golden examples of the version in `path`, each by itself.

    Raises RepositoryError where they cannot be listed. Where `refuse`, raises LoadFailed that names each that got
    another answer, ManifestError or RepositoryError for one that cannot be read.
    """
    paths = golden_paths(path)
    tried = Tried([], 0, {})
    for example_path in paths:
        try:
            problem = run_example(read_example(example_path), takes, session, spec, pipeline, tried.inputs)
        except (ManifestError, RepositoryError) as error:
            if refuse:
                raise
            problem = told(error)
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            problem = told(error)
        if problem:
            tried.failing[example_path.name] = problem
    if tried.failing and refuse:
        raise LoadFailed(
            f"{len(tried.failing)} of {len(paths)} golden examples failed: {show_failing(tried.failing)}"
        )
    return Tried(tried.inputs, len(paths) - len(tried.failing), tried.failing)


def told(error: Exception) -> str:
    """An error as the reason for which an example fails: our own say what is needed, others may be long."""
    return str(error) if isinstance(error, SteelyardError) else " ".join(str(error).split())[:300]


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
    takes: Takes,
    session: ort.InferenceSession,
    spec: ModelSpec,
    pipeline: Pipeline | None,
    met: list[Inputs],
) -> str:
    """What is wrong with the answer to `example`, empty where nothing is; adds the model's inputs to `met`."""
    walked = Walk()
    try:
        walk(decode_request(example.request), takes, session, spec, pipeline, walked)
    finally:
        if walked.inputs is not None:
            met.append(walked.inputs)
    if not walked.fits:
        return MISFIT
    return compare(example, {name: (datatype, array) for name, datatype, array in walked.answer})


def compare_answer(example: GoldenExample, answer: bytes) -> str:
    """What is wrong with `answer`, a serialized ModelInferResponse; empty where nothing is."""
    response = pb.ModelInferResponse.FromString(answer)
    found: dict[str, tuple[str, Array]] = {}
    for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if tensor.datatype == "BYTES":
            elements = decode_bytes_tensor(raw)
            array = np.empty(len(elements), dtype=object)
            array[:] = elements
        else:
            array = np.frombuffer(raw, BY_NAME[tensor.datatype].dtype)
        found[tensor.name] = tensor.datatype, array.reshape(list(tensor.shape))
    return compare(example, found)


def compare(example: GoldenExample, found: Mapping[str, tuple[str, Array]]) -> str:
    """What is wrong with outputs, given as datatype and array by name; empty where nothing is.

    Raises ManifestError where what is expected cannot be understood.
    """
    try:
        expected = pb.ModelInferResponse.FromString(example.expected)
    except DecodeError as error:
        raise ManifestError(
            f"golden example {example.name!r}: expected.pb is no ModelInferResponse: {error}"
        ) from None
    if len(expected.outputs) != len(expected.raw_output_contents):
        raise ManifestError(f"golden example {example.name!r}: expected.pb lacks the contents of its outputs")
    for tensor, raw in zip(expected.outputs, expected.raw_output_contents, strict=True):
        if tensor.name not in found:
            return f"expected an output {tensor.name!r}, which the version does not have"
        datatype, array = found[tensor.name]
        if tensor.datatype != datatype:
            return f"output {tensor.name!r}: expected {tensor.datatype}, came {datatype}"
        if list(tensor.shape) != list(array.shape):
            return f"output {tensor.name!r}: expected shape {list(tensor.shape)}, came {list(array.shape)}"
        if datatype == "BYTES":
            came = [one.encode() if isinstance(one, str) else one for one in array.ravel().tolist()]
            if came != decode_bytes_tensor(raw):
                return f"output {tensor.name!r}: expected other texts than came"
            continue
        wanted = np.frombuffer(raw, BY_NAME[datatype].dtype).reshape(array.shape)
        if datatype == "BF16":
            array, wanted = (from_bfloat16(bits) for bits in (array, wanted))
        distance = difference(array, wanted, example.options.absolute, example.options.relative)
        if distance is not None:
            return f"output {tensor.name!r} differs by {distance}"
    return ""
