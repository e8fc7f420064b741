"""From a request and what came of it to the payload that is kept of them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steelyard.errors import SteelyardError
from steelyard.evidence.masking import Masks
from steelyard.evidence.payload import SALT_BYTES, Payload, salted
from steelyard.models.spec import TensorSpec
from steelyard.pipelines.plan import PreparedRequest
from steelyard.rollout.bucket import KEY_PARAMETER
from steelyard.serving.canary import MAX_KEY_CHARS
from steelyard.wire import encode_bytes_tensor
from steelyard.wire.status import message_of, status_of


@dataclass(frozen=True, slots=True)
class About:
    """What the payloads of a version have in common."""

    model: str
    number: int
    digest: str
    max_bytes: int
    """Largest request and answer together that are kept themselves."""
    masks: Masks
    inputs: Sequence[TensorSpec] = ()
    """The model's own."""


def payload_of(
    about: About, decision_id: str, request: Any, outcome: bytes | SteelyardError, reasons: tuple[str, ...]
) -> Payload:
    """What is kept of one: masked, and then digested as it is kept, so that no digest says what a mask hides.

    request: decoded, as it came or prepared.
    """
    masks = about.masks
    asked = getattr(request, "request", request)
    masked_answer: tuple[str, ...] = ()
    if isinstance(outcome, SteelyardError):
        answer, status = masks.message(message_of(outcome)).encode(), int(status_of(outcome))
    else:
        answer, masked_answer = masks.answer(outcome)
        status = 0
    body, masked = masks.request(asked.body)
    salt = os.urandom(SALT_BYTES)
    kept = reasons != ("digest",) and len(body) + len(answer) <= about.max_bytes
    return Payload(
        decision_id=decision_id,
        model=about.model,
        version=about.number,
        digest=about.digest,
        status=status,
        reasons=reasons,
        masked=tuple(sorted({*masked, *masked_answer})),
        request_id=asked.id,
        key=str(asked.parameters.get(KEY_PARAMETER, ""))[:MAX_KEY_CHARS],
        salt=salt,
        input_digest=salted(salt, body),
        output_digest=salted(salt, answer),
        kept=kept,
        request=body if kept else b"",
        answer=answer if kept else b"",
        # Of what is masked they would say what it was.
        tensors=tensor_digests(salt, request, about.inputs)
        if kept and not masked and type(request) is PreparedRequest
        else {},
    )


def tensor_digests(salt: bytes, request: PreparedRequest, inputs: Sequence[TensorSpec]) -> dict[str, str]:
    """By name, the digest of each of the model's inputs as the pipeline makes them of a request."""
    found = {}
    for spec, tensor in zip(inputs, request.inputs, strict=True):
        array = np.empty(tensor.shape, object if spec.datatype == "BYTES" else spec.element.dtype)
        tensor.fill(array)
        found[spec.name] = tensor_digest(salt, array)
    return found


def tensor_digest(salt: bytes, array: Any) -> str:
    """The digest of a tensor's raw content, as it would be on the wire."""
    content = encode_bytes_tensor(array.ravel().tolist()) if array.dtype == object else array.tobytes()
    return salted(salt, content)
