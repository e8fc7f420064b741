"""Status messages as they travel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.rpc.percent import percent_decode, percent_encode

# Everything that UTF-8 can say: no lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
def test_comes_back_and_is_printable_ascii_between(text: str) -> None:
    encoded = percent_encode(text)
    assert percent_decode(encoded) == text
    assert all(0x20 <= byte <= 0x7E for byte in encoded)


def test_what_is_plain_stays_as_it_is() -> None:
    assert percent_encode("plain ~text!") == b"plain ~text!"
    assert percent_encode("100 %\n\t☺") == b"100 %25%0A%09%E2%98%BA"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"%", "%"),
        (b"%4", "%4"),
        (b"%zz", "%zz"),
        (b"%%41", "%A"),
        (b"%ff", "�"),
        (b"\xc3\xa9", "é"),
        (b"a%0", "a%0"),
    ],
)
def test_what_is_not_encoded_well_stands_for_itself(value: bytes, expected: str) -> None:
    assert percent_decode(value) == expected


@given(st.binary())
def test_nothing_is_an_error(value: bytes) -> None:
    percent_decode(value)


def test_a_lone_surrogate_is_replaced() -> None:
    assert percent_encode("a\ud800") == b"a?"
