"""Masks: what is blotted out of a request and of its answer before anything of them is written."""

import json
from collections.abc import Sequence
from math import prod
from typing import Any

from steelyard.wire import (
    decode_bytes_tensor,
    decode_request,
    decode_response,
    encode_bytes_tensor,
    encode_request,
    encode_response,
)

# What stands where a text was, in an answer's parameters and in the place of an error's words.
BLOT = "[masked]"

# What an answer says of rows that break their contract quotes what came, whatever column that was in.
_QUOTING_PARAMETER = "steelyard_flags"
_QUOTING_OUTPUT = "row_status"

# Before the name of a request's parameter. An input of this name, and its keys, are meant as well.
PARAMETER_MASK = "parameters."

Encoded = tuple[str, str, tuple[int, ...], Any]


class Masks:
    """The masks of a model; immutable, so threads may share it.

    A mask is the name of an input or output, INPUT.COLUMN for a key of the JSON objects that an input holds, or
    parameters.NAME for a parameter of the request. Numbers become nought, texts empty, a key's value null; what cannot
    be read as JSON is blotted out as a whole.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._parameters = {
            name.removeprefix(PARAMETER_MASK) for name in names if name.startswith(PARAMETER_MASK)
        }

    def __bool__(self) -> bool:
        return bool(self._names)

    def hides(self, name: str) -> bool:
        """Whether a tensor is masked, as a whole or by one of its keys."""
        return any(mask == name or mask.startswith(f"{name}.") for mask in self._names)

    def request(self, body: bytes) -> tuple[bytes, tuple[str, ...]]:
        """A serialized ModelInferRequest without what is masked, and which masks met something in it.

        The very bytes where no mask did. Raises `InvalidRequest` for what is none.
        """
        if not self._names:
            return body, ()
        request = decode_request(body)
        met: list[str] = []
        inputs = [self._tensor(tensor, met) for tensor in request.inputs]
        parameters = dict(request.parameters)
        for name in self._parameters & parameters.keys():
            parameters[name] = type(parameters[name])()
            met.append(PARAMETER_MASK + name)
        if not met:
            return body, ()
        outputs = [(one.name, one.parameters) for one in request.outputs]
        masked = encode_request(
            request.model_name, request.model_version, request.id, parameters, inputs, outputs
        )
        return masked, tuple(sorted(set(met)))

    def answer(self, answer: bytes) -> tuple[bytes, tuple[str, ...]]:
        """The same of a serialized ModelInferResponse; with any mask, also what it quotes of the request's values.

        Raises `DataError` for what is none.
        """
        if not self._names:
            return answer, ()
        response = decode_response(answer)
        met: list[str] = []
        outputs = [
            _emptied(tensor) if tensor.name == _QUOTING_OUTPUT else self._tensor(tensor, met)
            for tensor in response.outputs
        ]
        parameters = dict(response.parameters)
        quotes = _QUOTING_PARAMETER in parameters
        if quotes:
            parameters[_QUOTING_PARAMETER] = BLOT
        if not met and not quotes and all(tensor.name != _QUOTING_OUTPUT for tensor in response.outputs):
            return answer, ()
        masked = encode_response(
            response.model_name, response.model_version, response.id, parameters, outputs
        )
        return masked, tuple(sorted(met))

    def message(self, text: str) -> str:
        """An error's words: what refuses a value quotes it, so that with any mask nothing of them is kept."""
        return BLOT if self._names and text else text

    def _tensor(self, tensor: Any, met: list[str]) -> Encoded:
        name = tensor.name
        if name in self._names:
            met.append(name)
            return _emptied(tensor)
        keys = {mask[len(name) + 1 :] for mask in self._names if mask.startswith(f"{name}.")}
        if keys and tensor.datatype == "BYTES":
            found = set[str]()
            data = encode_bytes_tensor([_row(one, keys, found) for one in decode_bytes_tensor(tensor.data)])
            if found:
                met += [f"{name}.{key}" for key in found]
                return name, tensor.datatype, tensor.shape, data
        return name, tensor.datatype, tensor.shape, tensor.data


def _emptied(tensor: Any) -> Encoded:
    """A tensor of the same name, type and shape that says nothing."""
    if tensor.datatype == "BYTES":
        return tensor.name, "BYTES", tensor.shape, encode_bytes_tensor([b""] * prod(tensor.shape))
    return tensor.name, tensor.datatype, tensor.shape, bytes(len(tensor.data))


def _row(raw: bytes, keys: set[str], found: set[str]) -> bytes:
    """A row's JSON object without the values of `keys`; adds to `found` those that it had, all where it is none."""
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        found |= keys
        return b""
    here = keys & row.keys()
    if not here:
        return raw
    found |= here
    return json.dumps(row | dict.fromkeys(here), separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
