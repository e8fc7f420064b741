"""What the graph says of its tensors and what the manifest says, brought together into one specification."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from steelyard.errors import LoadFailed, ManifestError
from steelyard.models.datatypes import BY_ONNX_TYPE
from steelyard.models.labels import read_labels
from steelyard.models.spec import DYNAMIC, ModelSpec, TensorSpec
from steelyard.models.version_manifest import (
    VERSION_MANIFEST,
    OutputManifest,
    TensorManifest,
    VersionManifest,
)
from steelyard.toml import did_you_mean


class NodeArg(Protocol):
    """A tensor as ONNX Runtime's session lists it."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str:
        """Such as "tensor(float)"."""
        ...

    @property
    def shape(self) -> Sequence[int | str | None]:
        """A number where fixed, else a symbol or None. Empty for a scalar, or for an unknown rank."""
        ...


def describe(
    session_inputs: Sequence[NodeArg],
    session_outputs: Sequence[NodeArg],
    manifest: VersionManifest,
    directory: Path,
) -> ModelSpec:
    """The specification of the model in `directory`, in the graph's order; inputs and outputs of the manifest that have
    steps are not the model's, and are left to the pipelines.

    The manifest may leave out any tensor, datatype or shape, which the graph then fills in. It may fix a
    dimension that the graph leaves open, and give the shape of a tensor for which the graph states none;
    nothing else may differ. Inputs that have an initializer are not among `session_inputs`, and cannot be set
    by requests.

    Raises ManifestError where the two contradict each other, and LoadFailed for a type that the protocol
    cannot carry.
    """
    made = {tensor.name for tensor in manifest.callers_inputs}
    shown = {tensor.name for tensor in manifest.callers_outputs}
    own_inputs = [tensor for tensor in manifest.input if tensor.name not in made]
    own_outputs = [tensor for tensor in manifest.output if tensor.name not in shown]
    _refuse_unknown("input", session_inputs, own_inputs)
    _refuse_unknown("output", session_outputs, own_outputs)
    given_inputs: Mapping[str, TensorManifest] = {tensor.name: tensor for tensor in own_inputs}
    given_outputs: Mapping[str, OutputManifest] = {tensor.name: tensor for tensor in own_outputs}
    inputs = tuple(_tensor("input", arg, given_inputs.get(arg.name), ()) for arg in session_inputs)
    outputs = tuple(_output(arg, given_outputs.get(arg.name), directory) for arg in session_outputs)
    return ModelSpec(inputs, outputs, _batched(inputs, outputs, manifest.batched))


def _refuse_unknown(kind: str, args: Sequence[NodeArg], given: Sequence[TensorManifest]) -> None:
    known = [arg.name for arg in args]
    for tensor in given:
        if tensor.name not in known:
            nearest = did_you_mean(tensor.name, known)
            raise ManifestError(f"{VERSION_MANIFEST}: {kind} '{tensor.name}' is not in the graph{nearest}")


def _output(arg: NodeArg, given: OutputManifest | None, directory: Path) -> TensorSpec:
    labels = read_labels(given, directory) if given is not None else ()
    spec = _tensor("output", arg, given, labels)
    if labels and spec.dims and spec.dims[-1] not in (DYNAMIC, len(labels)):
        raise ManifestError(
            f"{VERSION_MANIFEST}: output '{arg.name}' has {len(labels)} labels, "
            f"but its last axis has {spec.dims[-1]} entries"
        )
    return spec


def _tensor(kind: str, arg: NodeArg, given: TensorManifest | None, labels: tuple[str, ...]) -> TensorSpec:
    datatype = BY_ONNX_TYPE.get(arg.type)
    if datatype is None:
        raise LoadFailed(f"{kind} '{arg.name}' has the type {arg.type}, which the protocol cannot carry")
    if given is not None and given.datatype not in (None, datatype.name):
        raise _contradiction(kind, arg.name, f"datatype {given.datatype}", f"datatype {datatype.name}")
    dims = tuple(dim if isinstance(dim, int) and dim >= 0 else DYNAMIC for dim in arg.shape)
    if given is not None and given.shape is not None:
        dims = _narrowed(kind, arg.name, dims, given.shape)
    return TensorSpec(arg.name, datatype.name, dims, labels)


def _narrowed(kind: str, name: str, graph: tuple[int, ...], given: tuple[int, ...]) -> tuple[int, ...]:
    if graph == ():
        return given
    same_rank = len(given) == len(graph)
    if not same_rank or any(g not in (DYNAMIC, m) for g, m in zip(graph, given, strict=True)):
        raise _contradiction(kind, name, f"shape {list(given)}", f"shape {list(graph)}")
    return given


def _batched(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], given: bool | None) -> bool:
    tensors = [("input", spec) for spec in inputs] + [("output", spec) for spec in outputs]
    if not given:
        return given is None and bool(inputs) and all(spec.dims[:1] == (DYNAMIC,) for _, spec in tensors)
    if not inputs:
        raise ManifestError(
            f"{VERSION_MANIFEST}: batched = true, but the graph has no input that counts rows"
        )
    for kind, spec in tensors:
        if spec.dims[:1] != (DYNAMIC,):
            raise _contradiction(kind, spec.name, "batched = true", f"shape {list(spec.dims)}")
    return True


def _contradiction(kind: str, name: str, manifest_says: str, graph_says: str) -> ManifestError:
    says = f"{VERSION_MANIFEST} says {manifest_says}, the graph says {graph_says}"
    return ManifestError(f"{kind} '{name}': {says}")
