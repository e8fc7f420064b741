"""Masks: whatever a request holds, nothing that is named is in what is kept."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.evidence.masking import BLOT, Masks
from steelyard.models.evidence import Capture
from steelyard.rollout.bucket import KEY_PARAMETER
from steelyard.wire import (
    decode_bytes_tensor,
    decode_request,
    decode_response,
    encode_bytes_tensor,
    encode_request,
    encode_response,
)

SECRET = "5up3r53cr3t"


def asked(*rows: bytes, **parameters: Any) -> bytes:
    numbers = np.arange(2, dtype=np.float32).tobytes()
    inputs = [
        ("x", "FP32", (1, 2), numbers),
        ("rows", "BYTES", (len(rows),), encode_bytes_tensor(rows)),
    ]
    return encode_request("m", "3", "an id", parameters, inputs, [("y", {"classification": 2})])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(SECRET) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    rows=st.lists(st.dictionaries(st.sampled_from(["age", "name", "a.b"]), values), min_size=1, max_size=3),
    ascii_only=st.booleans(),
)
def test_a_masked_key_is_null_and_everything_else_stays(rows: list[dict[str, Any]], ascii_only: bool) -> None:
    body = asked(*(json.dumps(row, ensure_ascii=ascii_only).encode("utf-8", "replace") for row in rows), k=1)
    masked, met = Masks(["rows.name", "rows.a.b"]).request(body)
    hidden = {"name", "a.b"}
    assert met == tuple(sorted({f"rows.{key}" for row in rows for key in row.keys() & hidden}))
    request = decode_request(masked)
    assert (request.model_version, request.id, request.parameters) == ("3", "an id", {"k": 1})
    assert request.outputs[0].parameters == {"classification": 2}
    assert bytes(request.inputs[0].data) == bytes(decode_request(body).inputs[0].data)
    for row, element in zip(rows, decode_bytes_tensor(request.inputs[1].data), strict=True):
        found = json.loads(element)
        assert found.keys() == row.keys()
        for key in row:
            assert found[key] is None if key in hidden else json.dumps(found[key]) == json.dumps(row[key])


@pytest.mark.parametrize(
    "row",
    [
        f'{{"name": "{SECRET}"',
        f'["{SECRET}"]',
        f'{{"n\\u0061me": "{SECRET}"}}',
        f'{{"name": "{SECRET}", "name": 1}}',
        f'{{"name": 1, "name": "{SECRET}"}}',
        "[" * 100_000 + f'"{SECRET}"',
        f'{{"age": {"9" * 5000}, "name": "{SECRET}"}}',
    ],
)
def test_whatever_is_sent_nothing_that_is_masked_stays(row: str) -> None:
    masked, met = Masks(["rows.name"]).request(asked(row.encode()))
    assert met == ("rows.name",)
    assert SECRET.encode() not in masked


def test_bytes_that_are_no_utf8(tmp_path: object) -> None:
    masked, _ = Masks(["rows.name"]).request(asked(b'{"name": "\xff' + SECRET.encode() + b'"}'))
    assert SECRET.encode() not in masked


def test_parameters_are_masked_by_their_names() -> None:
    body = asked(b"{}", customer=SECRET, age=77, vip=True, weight=1.5, other=3)
    names = [
        "parameters.customer",
        "parameters.age",
        "parameters.vip",
        "parameters.weight",
        "parameters.none",
    ]
    masked, met = Masks(names).request(body)
    assert met == tuple(sorted(names[:4]))
    assert decode_request(masked).parameters == {
        "customer": "",
        "age": 0,
        "vip": False,
        "weight": 0.0,
        "other": 3,
    }
    assert SECRET.encode() not in masked
    assert [bytes(one.data) for one in decode_request(masked).inputs] == [
        bytes(one.data) for one in decode_request(body).inputs
    ]
    assert Masks(["customer"]).request(body) == (body, ())


def test_a_mask_of_a_parameter_is_one_of_an_input_of_that_name_as_well() -> None:
    rows = encode_bytes_tensor([f'{{"name": "{SECRET}"}}'.encode()])
    body = encode_request("m", "", "", {"name": SECRET}, [("parameters", "BYTES", (1,), rows)], [])
    masked, met = Masks(["parameters.name"]).request(body)
    assert met == ("parameters.name",)
    assert SECRET.encode() not in masked


def test_the_key_that_payloads_are_erased_by_cannot_be_masked() -> None:
    with pytest.raises(ValueError, match=r"expected no parameters\.steelyard_key"):
        Capture(masks=(f"parameters.{KEY_PARAMETER}",))


def test_a_masked_input_keeps_its_shape_and_says_nothing() -> None:
    masked, met = Masks(["x", "rows", "nowhere"]).request(asked(SECRET.encode(), b"b"))
    assert met == ("rows", "x")
    numbers, rows = decode_request(masked).inputs
    assert (numbers.shape, bytes(numbers.data)) == ((1, 2), bytes(8))
    assert decode_bytes_tensor(rows.data) == [b"", b""]


def test_what_no_mask_meets_is_kept_byte_by_byte() -> None:
    body = asked(b'{ "age" : 1.50 }')
    for masks in ([], ["rows.name"], ["other"]):
        assert Masks(masks).request(body) == (body, ())


def test_an_answer_quotes_no_value_that_may_be_masked() -> None:
    status = encode_bytes_tensor([b"", SECRET.encode()])
    outputs = [("y", "FP32", (2,), np.ones(2, "f4").tobytes()), ("row_status", "BYTES", (2,), status)]
    answer = encode_response("m", "1", "id", {"steelyard_flags": SECRET, "other": 1}, outputs)
    assert Masks([]).answer(answer) == (answer, ())
    masked, met = Masks(["rows.name"]).answer(answer)
    assert met == ()
    response = decode_response(masked)
    assert response.parameters == {"steelyard_flags": BLOT, "other": 1}
    assert SECRET.encode() not in masked
    assert Masks(["y"]).answer(answer)[1] == ("y",)


def test_an_errors_words_are_not_kept_where_anything_is_masked() -> None:
    assert Masks([]).message("came 3") == "came 3"
    assert Masks(["x"]).message("came 3") == BLOT
