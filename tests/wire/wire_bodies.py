"""Bodies for tests of the codecs: plausible requests and answers, broken ones, and arbitrary fields."""

import math
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from steelyard.errors import SteelyardError
from steelyard.wire.generated.grpc_service import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from steelyard.wire.types import CONTENTS_FIELD, ITEM_BYTES

# What each field of each message holds, by number; lists of numbers may be packed.
FIELDS = {
    "request": {1: "text", 2: "text", 3: "text", 4: "entry", 5: "tensor", 6: "output", 7: "bytes"},
    "response": {1: "text", 2: "text", 3: "text", 4: "entry", 5: "tensor", 6: "bytes"},
    "stream": {1: "text", 2: "response"},
    "tensor": {1: "text", 2: "text", 3: "varint", 4: "entry", 5: "contents"},
    "output": {1: "text", 2: "entry"},
    "entry": {1: "text", 2: "value"},
    "value": {1: "varint", 2: "varint", 3: "text", 4: "fixed64", 5: "varint"},
    "contents": {
        1: "varint",
        2: "varint",
        3: "varint",
        4: "varint",
        5: "varint",
        6: "fixed32",
        7: "fixed64",
        8: "bytes",
    },
}
NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 2**31 - 1, 2**31, 2**32, 2**62, 2**63, 2**64 - 1, 2**64 - 128)
TEXTS = ("", "a", "x", "tiny", "ü", "price in €", "shared_memory_region", "priority", "timeout", *ITEM_BYTES)
MEANINGS = ("priority", "timeout", "sequence_id", "sequence_start", "binary_data_output", "other")
INTEGER_LIMITS = {"INT8": 7, "INT16": 15, "INT32": 31, "INT64": 63, "UINT8": 8, "UINT16": 16, "UINT32": 32}


def outcome(decode: Callable[[bytes], Any], body: bytes) -> tuple[Any, ...]:
    """What a decoder makes of a body, in a form that compares content, types and messages."""
    try:
        message = decode(body)
    except SteelyardError as error:
        return type(error), str(error)
    if isinstance(message, tuple):
        error_message, response = message
        return error_message, *answer_content(response)
    return content(message) if hasattr(message, "inputs") else answer_content(message)


def answer_content(response: Any) -> tuple[Any, ...]:
    return (
        response.model_name,
        response.model_version,
        response.id,
        parameters(response.parameters),
        tensors(response.outputs),
    )


def tensors(given: Any) -> list[tuple[Any, ...]]:
    return [
        (tensor.name, tensor.datatype, tensor.shape, parameters(tensor.parameters), bytes(tensor.data))
        for tensor in given
    ]


def content(request: Any) -> tuple[Any, ...]:
    return (
        request.model_name,
        request.model_version,
        request.id,
        request.body,
        request.body_bytes,
        parameters(request.parameters),
        tensors(request.inputs),
        [(output.name, parameters(output.parameters)) for output in request.outputs],
    )


def parameters(values: dict[str, Any]) -> list[tuple[str, type, Any]]:
    """Sorted, with the types, and floats as their bits, since a NaN is not equal to itself."""
    return sorted(
        (name, type(value), struct.pack("<d", value) if isinstance(value, float) else value)
        for name, value in values.items()
    )


def varint(value: int, padding: int = 0) -> bytes:
    """`padding` more bytes than needed, which is legal up to ten in all."""
    value &= 2**64 - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(padding):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number: int, kind: int, payload: bytes) -> bytes:
    return varint(number << 3 | kind) + (varint(len(payload)) if kind == 2 else b"") + payload


def plausible_message(random: Random) -> ModelInferRequest:
    """A request that keeps most of the rules, and often all."""
    slip = random.random() < 0.5

    def slips() -> bool:
        return slip and random.random() < 0.08

    message = ModelInferRequest(model_name=random.choice(TEXTS), id=random.choice(("", "7", "é" * 64)))
    if slips():
        message.id = "i" * random.choice((128, 129))
    if random.random() < 0.3:
        for name in random.sample(MEANINGS, random.randrange(4)):
            _give(random, message.parameters[name], name, slips())
    raw = random.random() < 0.6
    for i in range(random.choice((0, 1, 1, 1, 2, 3))):
        _add_input(random, message, f"input{i}", raw if not slips() else not raw, slips)
    if slips():
        message.raw_input_contents.append(b"")
    for name in random.sample(("a", "b", "c"), random.randrange(3)):
        output = message.outputs.add(name=name)
        if random.random() < 0.3:
            _give(random, output.parameters[random.choice(TEXTS)], "other", slips())
    return message


def plausible_answer(random: Random) -> ModelInferResponse:
    """An answer that keeps most of the rules, and often all."""
    slip = random.random() < 0.5

    def slips() -> bool:
        return slip and random.random() < 0.08

    message = ModelInferResponse(
        model_name=random.choice(TEXTS), model_version="3", id=random.choice(("", "7"))
    )
    for name in random.sample((*MEANINGS, "steelyard_decision_id"), random.randrange(4)):
        _give(random, message.parameters[name], name, slips())
    for i in range(random.choice((0, 1, 1, 1, 2, 3))):
        datatype = random.choice(list(ITEM_BYTES))
        shape = [random.choice((0, 1, 1, 2, 3)) for _ in range(random.randrange(4))]
        if slips():
            shape.extend([1] * random.choice((1, 29, 40)))
        count = math.prod(shape) + (random.choice((-1, 1)) if slips() else 0)
        tensor = message.outputs.add(name=f"output{i}", datatype=datatype, shape=shape)
        message.raw_output_contents.append(raw_content(random, datatype, max(count, 0), slips))
        if slips():
            tensor.datatype = random.choice(("", "FP31", "fp32"))
        if slips():
            tensor.shape.append(random.choice((-1, 2**62, 2**31, -(2**63))))
        if slips():
            _give(random, tensor.parameters[random.choice(TEXTS)], "other", slips())
        if slips():
            tensor.contents.fp32_contents.extend([1.0, 2.0])
    if slips():
        message.raw_output_contents.append(b"")
    return message


def plausible_stream(random: Random) -> ModelStreamInferResponse:
    """An answer of a stream, or an error."""
    error = random.choice(("", "", "full"))
    return ModelStreamInferResponse(error_message=error, infer_response=plausible_answer(random))


def _give(random: Random, parameter: InferParameter, name: str, slip: bool) -> None:
    if slip:
        if random.random() < 0.7:
            setattr(
                parameter,
                *random.choice((("string_param", "1"), ("bool_param", True), ("double_param", 1.5))),
            )
    elif name in ("priority", "timeout", "sequence_id"):
        setattr(parameter, random.choice(("int64_param", "uint64_param")), random.choice((0, 1, 2**40)))
    elif name in ("sequence_start", "binary_data_output"):
        parameter.bool_param = random.random() < 0.5
    else:
        parameter.double_param = random.choice((0.0, -0.0, math.nan, math.inf, 2.5))


def _add_input(
    random: Random, message: ModelInferRequest, name: str, raw: bool, slips: Callable[[], bool]
) -> None:
    datatype = random.choice(list(ITEM_BYTES))
    if not raw and datatype in ("FP16", "BF16") and not slips():
        datatype = "FP32"
    rank = random.choice((0, 1, 1, 2, 2, 3, 9, 32))
    shape = [random.choice((0, 1, 1, 2, 3)) if rank < 4 else 1 for _ in range(rank)]
    count = math.prod(shape)
    if slips():
        count += random.choice((-1, 1))
    tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
    if slips():
        tensor.datatype = random.choice(("", "FP31", "fp32", "INT128", "TYPE_FP32"))
    if slips():
        tensor.shape.append(random.choice((-1, 2**62, 2**31, -(2**63))))
    if slips():
        tensor.shape.extend([1] * random.choice((1, 40)))
    if slips():
        _give(random, tensor.parameters[random.choice(("shared_memory_region", "other"))], "other", slips())
    if raw:
        message.raw_input_contents.append(raw_content(random, datatype, max(count, 0), slips))
    else:
        tensor.contents.SetInParent()
        values = typed_content(random, datatype, max(count, 0), slips)
        getattr(tensor.contents, CONTENTS_FIELD.get(datatype, "fp32_contents")).extend(values)
        if slips():
            tensor.contents.uint_contents.append(1)
        if slips():
            tensor.ClearField("contents")


def raw_content(random: Random, datatype: str, count: int, slips: Callable[[], bool]) -> bytes:
    if datatype == "BYTES":
        pieces = []
        for _ in range(count):
            element = random.randbytes(random.randrange(5))
            pieces.append(struct.pack("<I", len(element) + slips() * random.choice((1, 2**31))) + element)
        return b"".join(pieces) + b"\x00" * slips() * random.randrange(6)
    if datatype == "BOOL":
        return bytes(random.randrange(2) + 2 * slips() for _ in range(count))
    return random.randbytes(count * ITEM_BYTES[datatype] + slips())


def typed_content(random: Random, datatype: str, count: int, slips: Callable[[], bool]) -> list[Any]:
    if datatype == "BYTES":
        return [random.randbytes(random.randrange(5)) for _ in range(count)]
    if datatype == "BOOL":
        return [random.random() < 0.5 for _ in range(count)]
    if datatype in INTEGER_LIMITS or datatype == "UINT64":
        high = 2 ** INTEGER_LIMITS.get(datatype, 64) - 1
        low = -high - 1 if datatype.startswith("INT") else 0
        values = [random.choice((low, high, 0, 1)) for _ in range(count)]
        if values and datatype in ("INT8", "INT16", "UINT8", "UINT16") and slips():
            values[random.randrange(count)] = random.choice((high + 1, 2**31 - 1))
        return values
    return [random.choice((0.0, -0.0, math.nan, -math.inf, 1e-40, 2.5)) for _ in range(count)]


def arbitrary_message(random: Random, kind: str = "request", depth: int = 0) -> bytes:
    """Fields of a message in any order, mostly of their own wire type."""
    out = b""
    for _ in range(random.choice((0, 1, 1, 2, 3, 5))):
        numbers = list(FIELDS[kind])
        number = (
            random.choice(numbers) if random.random() < 0.93 else random.choice((9, 15, 16, 2**29 - 1, 0))
        )
        holds = FIELDS[kind].get(number, "unknown")
        if random.random() < 0.05:
            holds = random.choice(("varint", "fixed32", "fixed64", "bytes", "group", "end"))
        out += arbitrary_field(random, number, holds, depth)
    return out


def arbitrary_field(random: Random, number: int, holds: str, depth: int) -> bytes:
    if holds in FIELDS:
        holds = holds if depth < 5 else "bytes"
    if holds == "unknown":
        holds = random.choice(("varint", "fixed32", "fixed64", "bytes", "group"))
    kinds = {"varint": 0, "fixed64": 1, "group": 3, "end": 4, "fixed32": 5}
    pack = holds in ("varint", "fixed32", "fixed64") and random.random() < 0.5
    kind = 2 if pack else kinds.get(holds, 2)
    pad = random.choice((1, 2, 4, 9)) if random.random() < 0.05 else 0
    tag = varint(number << 3 | kind, pad)
    if kind == 3:
        inner = b"".join(
            arbitrary_field(
                random, random.randrange(1, 9), random.choice(("varint", "bytes", "group")), depth + 1
            )
            for _ in range(random.randrange(3) if depth < 6 else 0)
        )
        return tag + inner + varint((number if random.random() < 0.97 else number + 1) << 3 | 4)
    if kind == 4:
        return tag
    if kind != 2:
        return tag + scalar(random, holds)
    if pack:
        payload = b"".join(scalar(random, holds) for _ in range(random.randrange(4)))
    elif holds in FIELDS:
        payload = arbitrary_message(random, holds, depth + 1)
    elif holds == "text" and random.random() < 0.9:
        payload = random.choice(TEXTS).encode()
    else:
        payload = random.randbytes(random.randrange(6))
    return tag + varint(len(payload) + (random.random() < 0.01), pad) + payload


def scalar(random: Random, holds: str) -> bytes:
    if holds == "varint":
        return varint(random.choice(NUMBERS), random.choice((1, 3, 9)) if random.random() < 0.1 else 0)
    return random.randbytes(8 if holds == "fixed64" else 4)


def split_fields(body: bytes) -> list[bytes]:
    """The top-level fields of a valid message of which all have a length."""
    fields = []
    at = 0
    while at < len(body):
        start = at
        at += 1
        length = shift = 0
        while True:
            byte = body[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        at += length
        fields.append(body[start:at])
    return fields


def rearranged(random: Random, body: bytes) -> bytes:
    """The fields of a valid message in another order, some of them twice."""
    fields = split_fields(body)
    for _ in range(random.randrange(3)):
        if fields:
            fields.append(random.choice(fields))
    random.shuffle(fields)
    return b"".join(fields)


def mutated(random: Random, body: bytes) -> bytes:
    """Some bytes changed, put in, taken out, or cut off."""
    out = bytearray(body)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(out) + 1)
        match random.randrange(5):
            case 0 if at < len(out):
                out[at] ^= 1 << random.randrange(8)
            case 1 if at < len(out):
                out[at] = random.choice((0, 1, 2, 0x7F, 0x80, 0xFF, random.randrange(256)))
            case 2:
                out[at:at] = random.randbytes(random.choice((1, 1, 3)))
            case 3:
                del out[at : at + random.choice((1, 1, 2, 5))]
            case 4 if random.random() < 0.3:
                del out[at:]
    return bytes(out)


def any_body(
    random: Random, plausible: Callable[[Random], Any] = plausible_message, kind: str = "request"
) -> bytes:
    """A body of one of all kinds."""
    match random.randrange(10):
        case 0 | 1 | 2:
            return _serialized(plausible(random))
        case 3 | 4:
            return rearranged(random, _serialized(plausible(random)))
        case 5 | 6:
            return mutated(random, _serialized(plausible(random)))
        case 7:
            return _serialized(plausible(random)) + arbitrary_message(random, kind)
        case 8:
            return arbitrary_message(random, kind)
        case _:
            return random.randbytes(random.randrange(40))


def _serialized(message: Any) -> bytes:
    body: bytes = message.SerializeToString()
    return body
