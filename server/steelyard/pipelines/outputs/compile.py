"""Output steps, each turned into what it makes of a tensor's description, and a function over the batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import ExecutionFailed
from steelyard.models.bfloat16 import from_bfloat16
from steelyard.models.spec import DYNAMIC, TensorSpec
from steelyard.pipelines.misfits import misfit, shown_dims
from steelyard.pipelines.outputs import declaration as d
from steelyard.pipelines.outputs.boxes import ImageSlot, from_slots
from steelyard.pipelines.outputs.casts import cast
from steelyard.pipelines.outputs.ctc import best_path, mean_of_kept
from steelyard.pipelines.outputs.scores import best_index, best_indexes, sigmoid, softmax
from steelyard.pipelines.outputs.vectors import first_token, largest_of_tokens, mean_of_tokens, unit_length

Array = npt.NDArray[Any]

FLOATS = ("FP16", "FP32", "FP64")
NUMBERS = (*FLOATS, "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL")


@dataclass(frozen=True, slots=True)
class Given:
    """What the steps after the model may look at beside its output."""

    inputs: Mapping[str, Array]
    """The batch's model inputs by name."""
    ways_back: Mapping[str, Array] = field(default_factory=dict)
    """By the model's input that images were put into: how each row's slot lies in its image, float64 [rows, 6]."""


Pass = Callable[[tuple[Array, ...], Given], tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Compiled:
    """One step: the tensors that it makes of one, and the function that makes them."""

    tensors: tuple[TensorSpec, ...]
    run: Callable[[Array, Given], tuple[Array, ...]]


def compile_step(
    step: d.OutputStep,
    output: str,
    tensor: TensorSpec,
    model_inputs: Mapping[str, TensorSpec],
    images: Mapping[str, ImageSlot],
) -> Compiled:
    """The step applied to `tensor`; `output` is the declared name, for messages, `images` the slots by the caller's
    inputs that fill them. Raises ManifestError."""
    where = f"output '{output}'"
    match step:
        case d.Rename():
            return Compiled((replace(tensor, name=step.to),), lambda array, given: (array,))
        case d.Cast():
            return _cast(step, where, tensor)
        case d.Softmax():
            _expect(where, step.step, tensor, FLOATS, least_rank=1)
            return Compiled((tensor,), lambda array, given: (softmax(array),))
        case d.Sigmoid():
            _expect(where, step.step, tensor, FLOATS, least_rank=0)
            return Compiled((tensor,), lambda array, given: (sigmoid(array),))
        case d.Normalise():
            _expect(where, step.step, tensor, FLOATS, least_rank=1)
            return Compiled((tensor,), lambda array, given: (unit_length(array),))
        case d.Threshold():
            return _threshold(step, where, tensor)
        case d.ArgMax():
            return _argmax(step, where, tensor)
        case d.TopK():
            return _top_k(step, where, tensor)
        case d.Select():
            return _select(step, where, tensor)
        case d.Ctc():
            return _ctc(step, where, tensor)
        case d.Pool():
            return _pool(step, where, tensor, model_inputs)
        case d.Boxes():
            return _boxes(step, where, tensor, images)


def _expect(where: str, step: str, tensor: TensorSpec, datatypes: tuple[str, ...], least_rank: int) -> None:
    if tensor.datatype not in datatypes:
        hint = "; cast it first" if tensor.datatype in (*NUMBERS, "BF16") else ""
        raise misfit(where, step, f"expected {', '.join(datatypes)}, got {tensor.datatype}{hint}")
    if len(tensor.dims) < least_rank:
        raise misfit(where, step, f"expected at least {least_rank} dimensions, got {shown_dims(tensor.dims)}")


def _cast(step: d.Cast, where: str, tensor: TensorSpec) -> Compiled:
    _expect(where, step.step, tensor, (*NUMBERS, "BF16"), least_rank=0)
    made = replace(tensor, datatype=step.to)
    dtype = made.element.dtype
    if tensor.datatype == "BF16":
        return Compiled((made,), lambda array, given: (cast(from_bfloat16(array), dtype),))
    return Compiled((made,), lambda array, given: (cast(array, dtype),))


def _threshold(step: d.Threshold, where: str, tensor: TensorSpec) -> Compiled:
    _expect(where, step.step, tensor, NUMBERS, least_rank=0)
    at: Any = step.at
    dtype = tensor.element.dtype
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            at = dtype.type(at)  # what is beyond the type is its infinity, which infinity alone reaches
    if step.label is None:
        if step.otherwise:
            raise misfit(where, step.step, "otherwise is given, and label is not")
        return Compiled((replace(tensor, datatype="BOOL", labels=()),), lambda array, given: (array >= at,))
    texts = _texts((step.otherwise, step.label))
    return Compiled(
        (replace(tensor, datatype="BYTES", labels=()),),
        lambda array, given: (texts[(array >= at).astype(np.intp)],),
    )


def _argmax(step: d.ArgMax, where: str, tensor: TensorSpec) -> Compiled:
    classes = _classes(where, step.step, tensor)
    give = step.give or ("label" if tensor.labels else "index")
    dims = tensor.dims[:-1]
    if give == "index":
        return Compiled(
            (TensorSpec(tensor.name, "INT64", dims),),
            lambda array, given: (best_index(_same_classes(where, array, classes)),),
        )
    texts = _labels(where, step.step, tensor)
    return Compiled(
        (TensorSpec(tensor.name, "BYTES", dims),),
        lambda array, given: (texts[best_index(_same_classes(where, array, classes))],),
    )


def _top_k(step: d.TopK, where: str, tensor: TensorSpec) -> Compiled:
    classes = _classes(where, step.step, tensor)
    if classes != DYNAMIC and step.k > classes:
        raise misfit(where, step.step, f"expected k of at most the {classes} classes, got {step.k}")
    give = ("scores", "labels" if tensor.labels else "indexes") if step.give is None else step.give
    if not give or len(set(give)) != len(give):
        raise misfit(where, step.step, f"expected at least one in give, and each once, got {list(give)}")
    texts = _labels(where, step.step, tensor) if "labels" in give else None
    dims = (*tensor.dims[:-1], DYNAMIC if classes == DYNAMIC else step.k)
    kinds = {"scores": (step.scores, tensor.datatype), "labels": (step.labels, "BYTES")}
    kinds["indexes"] = (step.indexes, "INT64")
    made = tuple(TensorSpec(*kinds[kind], dims) for kind in give)

    def run(array: Array, given: Given) -> tuple[Array, ...]:
        indexes = best_indexes(array, min(step.k, _same_classes(where, array, classes).shape[-1]))
        found = []
        for kind in give:
            if kind == "scores":
                found.append(np.take_along_axis(array, indexes, axis=-1))
            else:
                found.append(indexes if texts is None or kind == "indexes" else texts[indexes])
        return tuple(found)

    return Compiled(made, run)


def _select(step: d.Select, where: str, tensor: TensorSpec) -> Compiled:
    if len(tensor.dims) < 2:
        raise misfit(where, step.step, f"expected classes for each row, got {shown_dims(tensor.dims)}")
    classes = _classes(where, step.step, tensor)
    if (step.index is None) == (step.label is None):
        raise misfit(where, step.step, "expected index or label, and not both")
    place = step.index
    if place is None:
        _labels(where, step.step, tensor)
        found = [place for place, label in enumerate(tensor.labels) if label == step.label]
        if len(found) != 1:
            raise misfit(
                where, step.step, f"expected one class of the label {step.label!r}, got {len(found)}"
            )
        place = found[0]
    if classes != DYNAMIC and place >= classes:
        raise misfit(where, step.step, f"expected index below the {classes} classes, got {place}")
    kept = slice(place, place + 1) if step.keep else place
    made = replace(
        tensor,
        dims=(*tensor.dims[:-1], 1) if step.keep else tensor.dims[:-1],
        labels=tensor.labels[place : place + 1] if step.keep else (),
    )

    def run(array: Array, given: Given) -> tuple[Array, ...]:
        if _same_classes(where, array, classes).shape[-1] <= place:
            raise ExecutionFailed(
                f"{where}: expected more than {place} classes, the model gave {shown_dims(array.shape)}"
            )
        return (array[..., kept],)

    return Compiled((made,), run)


def _ctc(step: d.Ctc, where: str, tensor: TensorSpec) -> Compiled:
    _expect(where, step.step, tensor, FLOATS, least_rank=3)
    if len(tensor.dims) != 3:
        raise misfit(where, step.step, f"expected [rows, times, classes], got {shown_dims(tensor.dims)}")
    classes = _classes(where, step.step, tensor)
    texts = _labels(where, step.step, tensor)
    if step.blank >= classes:
        raise misfit(where, step.step, f"expected blank below the {classes} classes, got {step.blank}")
    made = [TensorSpec(tensor.name, "BYTES", tensor.dims[:1])]
    if step.score is not None:
        made.append(TensorSpec(step.score, tensor.datatype, tensor.dims[:1]))

    def run(array: Array, given: Given) -> tuple[Array, ...]:
        best, kept = best_path(_same_classes(where, array, classes), step.blank)
        read = np.empty(len(array), dtype=object)
        read[:] = [b"".join(texts[row[where_kept]]) for row, where_kept in zip(best, kept, strict=True)]
        return (read,) if step.score is None else (read, mean_of_kept(array, best, kept))

    return Compiled(tuple(made), run)


def _pool(step: d.Pool, where: str, tensor: TensorSpec, inputs: Mapping[str, TensorSpec]) -> Compiled:
    _expect(where, step.step, tensor, FLOATS, least_rank=3)
    if len(tensor.dims) != 3:
        raise misfit(where, step.step, f"expected [rows, tokens, width], got {shown_dims(tensor.dims)}")
    made = (replace(tensor, dims=(tensor.dims[0], tensor.dims[2])),)
    if step.how == "cls":
        if tensor.dims[1] == 0:
            raise misfit(where, step.step, f"expected a token, got {shown_dims(tensor.dims)}")
        return Compiled(made, lambda array, given: (first_token(_with_tokens(where, array)),))
    pool = mean_of_tokens if step.how == "mean" else largest_of_tokens
    if step.mask is False:
        return Compiled(made, lambda array, given: (pool(array, None),))
    mask = inputs.get(step.mask)
    if mask is None:
        raise misfit(
            where,
            step.step,
            f"expected mask to be one of the model's inputs ({', '.join(sorted(inputs)) or 'none'}), or false where "
            f"nothing is padded, got '{step.mask}'",
        )
    if mask.datatype not in NUMBERS or len(mask.dims) != 2:
        raise misfit(
            where,
            step.step,
            f"expected numbers of [rows, tokens] as mask, '{mask.name}' is {mask.datatype} of {shown_dims(mask.dims)}",
        )
    name = mask.name

    def run(array: Array, given: Given) -> tuple[Array, ...]:
        padding = given.inputs[name]
        if padding.shape != array.shape[:2]:
            raise ExecutionFailed(
                f"{where}: expected a vector for each token of '{name}', {shown_dims(padding.shape)}, "
                f"got {shown_dims(array.shape)}"
            )
        return (pool(array, padding),)

    return Compiled(made, run)


def _boxes(step: d.Boxes, where: str, tensor: TensorSpec, images: Mapping[str, ImageSlot]) -> Compiled:
    _expect(where, step.step, tensor, FLOATS, least_rank=2)
    if tensor.dims[-1] != DYNAMIC and tensor.dims[-1] < 4:
        raise misfit(
            where,
            step.step,
            f"expected four numbers or more along the last axis, got {shown_dims(tensor.dims)}",
        )
    slot = images[image_input(step, where, images)]
    # FP16 tells pixels apart up to 2,048 only.
    made = replace(tensor, datatype="FP64" if tensor.datatype == "FP64" else "FP32")
    dtype = made.element.dtype

    def run(array: Array, given: Given) -> tuple[Array, ...]:
        ways = given.ways_back[slot.tensor]
        if array.ndim < 2 or array.shape[-1] < 4 or len(ways) not in (1, len(array)):
            raise ExecutionFailed(
                f"{where}: expected boxes for {len(ways)} images, four numbers or more each, the model gave "
                f"{shown_dims(array.shape)}"
            )
        found = array.astype(dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            found[..., :4] = from_slots(array[..., :4], step.format, step.scale, slot, ways, step.clip)
        return (found,)

    return Compiled((made,), run)


def image_input(step: d.Boxes, where: str, images: Mapping[str, ImageSlot]) -> str:
    """The caller's input that the boxes of `step` lie in. Raises ManifestError where there is none, or no only one."""
    if step.input is None and len(images) == 1:
        return next(iter(images))
    if step.input is not None and step.input in images:
        return step.input
    raise misfit(
        where,
        step.step,
        f"expected input to be one of those with the step 'image' ({', '.join(sorted(images)) or 'none'}), "
        f"got {'none' if step.input is None else repr(step.input)}",
    )


def _classes(where: str, step: str, tensor: TensorSpec) -> int:
    """The length of the last axis, DYNAMIC where only a run shows it."""
    _expect(where, step, tensor, NUMBERS, least_rank=1)
    classes = tensor.dims[-1]
    if classes == 0:
        raise misfit(where, step, f"expected classes along the last axis, got {shown_dims(tensor.dims)}")
    if tensor.labels:
        if classes not in (DYNAMIC, len(tensor.labels)):
            raise misfit(
                where,
                step,
                f"expected a label for each of {classes} classes, got {len(tensor.labels)} labels",
            )
        return len(tensor.labels)
    return classes


def _same_classes(where: str, array: Array, classes: int) -> Array:
    """`array`, where its last axis is as long as was said; DYNAMIC says that there is anything."""
    if array.shape[-1] != classes and (classes != DYNAMIC or array.shape[-1] == 0):
        expected = "at least one class" if classes == DYNAMIC else f"{classes} classes"
        raise ExecutionFailed(f"{where}: expected {expected}, the model gave {shown_dims(array.shape)}")
    return array


def _with_tokens(where: str, array: Array) -> Array:
    if array.shape[1] == 0:
        raise ExecutionFailed(f"{where}: expected a token, the model gave {shown_dims(array.shape)}")
    return array


def _labels(where: str, step: str, tensor: TensorSpec) -> Array:
    if not tensor.labels:
        raise misfit(where, step, "expected labels of the output's classes, got none")
    return _texts(tensor.labels)


def _texts(texts: tuple[str, ...]) -> Array:
    """Strings as the wire takes them, encoded once."""
    encoded = np.empty(len(texts), dtype=object)
    encoded[:] = [text.encode() for text in texts]
    return encoded
