"""The step `tokenize`, compiled: the version's tokenizer set up once, and held against the model's inputs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.errors import ManifestError
from steelyard.models.spec import DYNAMIC, TensorSpec
from steelyard.pipelines.misfits import misfit, shown_dims
from steelyard.pipelines.text.declaration import TokenizeStep
from steelyard.pipelines.text.library import load_tokenizer
from steelyard.pipelines.text.tokenize import Padding, TokenizePreparer
from steelyard.toml import did_you_mean

# What tokenizers call their padding, where the file does not say.
PAD_TOKENS = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>")

DEFAULT_NAMES = {"mask": "attention_mask", "types": "token_type_ids"}


def compile_tokenize(
    step: TokenizeStep, sources: Sequence[TensorSpec], model_inputs: Sequence[TensorSpec], directory: Path
) -> TokenizePreparer:
    """The step from `sources` to those of `model_inputs` that it makes.

    sources: the caller's tensor that has the step, BYTES of [rows], or [rows, 2] for pairs, and the one that `pair`
    names, if any. directory: the version's.
    Raises ManifestError that names the input and the step, and ConfigError where the library is not installed.
    """
    where = f"input '{sources[0].name}'"
    paired = _paired(step, where, sources)
    wanted = _wanted(step, where, {tensor.name: tensor for tensor in model_inputs})
    try:
        tokenizer = load_tokenizer(directory, step.tokenizer)
    except ManifestError as exc:
        raise misfit(where, step.step, str(exc)) from exc
    lengths = {tensor.dims[1] for tensor, _ in wanted} - {DYNAMIC}
    if len(lengths) > 1:
        raise misfit(where, step.step, f"the model's inputs have different lengths: {sorted(lengths)}")
    own_length = lengths.pop() if lengths else None
    most = _most(step, where, tokenizer, own_length, paired)
    padding = _padding(step, where, tokenizer, most, own_length)
    if step.truncation == "never":
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(most, strategy=step.truncation)
    tokenizer.no_padding()
    return TokenizePreparer(
        step,
        tuple(source.name for source in sources),
        paired,
        tokenizer,
        padding,
        tuple((tensor.name, what, tensor.element.dtype) for tensor, what in wanted),
    )


def _paired(step: TokenizeStep, where: str, sources: Sequence[TensorSpec]) -> bool:
    names = [source.name for source in sources[1:]]
    if names != ([step.pair] if step.pair is not None else []):
        raise misfit(where, step.step, f"expected the tensors of pair = {step.pair!r}, got {names}")
    for source in sources:
        two = len(sources) == 1 and source.dims[1:] == (2,)
        if source.datatype != "BYTES" or not (len(source.dims) == 1 or source.dims[1:] == (1,) or two):
            raise misfit(
                where,
                step.step,
                f"expected BYTES of [-1], or of [-1, 2] for pairs, '{source.name}' is {source.datatype} of "
                f"{shown_dims(source.dims)}",
            )
    paired = len(sources) == 2 or sources[0].dims[1:] == (2,)
    if step.truncation == "only_second" and not paired:
        raise misfit(where, step.step, "truncation = 'only_second' expects pairs")
    return paired


def _wanted(step: TokenizeStep, where: str, inputs: Mapping[str, TensorSpec]) -> list[tuple[TensorSpec, str]]:
    """The model's inputs that the step makes, and what each takes."""
    names = {"ids": step.ids, "mask": step.mask, "types": step.types}
    found: list[tuple[TensorSpec, str]] = []
    for what, given in names.items():
        name = given or DEFAULT_NAMES[what]
        tensor = inputs.get(name)
        if tensor is None:
            if given is None:
                continue
            raise misfit(
                where, step.step, f"{what}: the model has no input '{name}'{did_you_mean(name, inputs)}"
            )
        if any(tensor is other for other, _ in found):
            raise misfit(where, step.step, f"{what}: the model's input '{name}' is given twice")
        if tensor.datatype not in ("INT32", "INT64") or len(tensor.dims) != 2 or tensor.dims[1] == 0:
            raise misfit(
                where,
                step.step,
                f"{what}: expected INT64 or INT32 of [-1, -1], the model's input '{name}' is {tensor.datatype} of "
                f"{shown_dims(tensor.dims)}",
            )
        found.append((tensor, what))
    return found


def _most(step: TokenizeStep, where: str, tokenizer: Any, own_length: int | None, paired: bool) -> int:
    """The most tokens of a row."""
    said = tokenizer.truncation
    if step.max_length is not None:
        most = step.max_length
    elif own_length is not None:
        most = own_length
    elif said is not None:
        most = int(said["max_length"])
    else:
        raise misfit(where, step.step, f"expected max_length, because {step.tokenizer} does not give one")
    if own_length is not None and most > own_length:
        raise misfit(
            where, step.step, f"max_length {most} is more than the {own_length} tokens that the model takes"
        )
    special = tokenizer.num_special_tokens_to_add(paired) if step.special_tokens else 0
    if most <= special:
        raise misfit(
            where, step.step, f"expected max_length above the {special} special tokens of a row, got {most}"
        )
    return most


def _padding(step: TokenizeStep, where: str, tokenizer: Any, most: int, own_length: int | None) -> Padding:
    said = tokenizer.padding or {}
    token = step.pad_id if step.pad_id is not None else said.get("pad_id")
    if token is None:
        known = (tokenizer.token_to_id(name) for name in PAD_TOKENS)
        token = next((number for number in known if number is not None), None)
    if token is None:
        raise misfit(where, step.step, f"expected pad_id, because {step.tokenizer} does not say what pads")
    if token > np.iinfo(np.int32).max:
        raise misfit(where, step.step, f"expected pad_id below 2**31, {step.tokenizer} has {token}")
    fixed = own_length if own_length is not None else most if step.fixed else None
    if fixed is not None and step.length_multiple != 1:
        raise misfit(where, step.step, f"length_multiple has no meaning where every row has {fixed} tokens")
    side = step.pad_side or said.get("direction", "right")
    return Padding(
        int(token), int(said.get("pad_type_id", 0)), side == "left", step.length_multiple, fixed, most
    )
