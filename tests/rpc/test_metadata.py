"""Metadata as header fields."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.rpc.metadata import RESERVED, decode_binary, decode_metadata, encode_metadata

_LETTERS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1, max_size=20)
NAMES = _LETTERS.filter(
    lambda name: not name.startswith("grpc-") and not name.endswith("-bin") and name.encode() not in RESERVED
)
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
PLAIN = st.tuples(NAMES, TEXTS)
BINARY = st.tuples(NAMES.map(lambda name: f"{name}-bin"), st.binary(max_size=40))


@given(st.lists(st.one_of(PLAIN, BINARY), max_size=8))
def test_comes_back_in_order(metadata: list[tuple[str, str | bytes]]) -> None:
    assert list(decode_metadata(encode_metadata(metadata))) == metadata


@given(
    st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.booleans(), st.sampled_from([b",", b", "])
)
def test_several_binary_values_may_share_a_field(values: list[bytes], padded: bool, comma: bytes) -> None:
    encoded = [
        base64.b64encode(value) if padded else base64.b64encode(value).rstrip(b"=") for value in values
    ]
    fields = [(b"key-bin", comma.join(encoded))]
    assert decode_metadata(fields) == tuple(("key-bin", value) for value in values)


def test_what_is_the_protocols_is_not_the_callers() -> None:
    fields = [
        (b":path", b"/a/b"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"1S"),
        (b"grpc-encoding", b"gzip"),
        (b"grpc-status-details-bin", b"YQ"),
        (b"grpc-previous-rpc-attempts", b"1"),
        (b"user-agent", b"someone"),
    ]
    assert decode_metadata(fields) == (
        ("grpc-status-details-bin", b"a"),
        ("grpc-previous-rpc-attempts", "1"),
        ("user-agent", "someone"),
    )


@pytest.mark.parametrize("value", [b"*", b"a", b"YQ=a", b"Y Q", b"\xff\xff", b"YQ-_", b"=", b"Y=Q="])
def test_a_binary_value_that_is_not_base64(value: bytes) -> None:
    if value == b"=":
        assert decode_binary("key-bin", value) == b""
        return
    with pytest.raises(ValueError, match="metadata 'key-bin': expected base64"):
        decode_metadata([(b"key-bin", value)])


@given(st.binary())
def test_base64_or_a_refusal(value: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode_binary("key-bin", value)


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=5))
def test_anything_is_decoded_or_refused(fields: list[tuple[bytes, bytes]]) -> None:
    with contextlib.suppress(ValueError):
        decode_metadata(fields)


@pytest.mark.parametrize("name", ["", "Upper", "a b", ":path", "grpc-status", "grpc-x", "é", "a\n"])
def test_a_name_that_cannot_travel(name: str) -> None:
    with pytest.raises(ValueError, match="expected metadata named with"):
        encode_metadata([(name, "value")])


@pytest.mark.parametrize("name", ["te", "content-type", "host", "connection"])
def test_a_name_that_is_not_the_callers(name: str) -> None:
    with pytest.raises(ValueError, match=f"metadata may not be named '{name}'"):
        encode_metadata([(name, "value")])


@pytest.mark.parametrize("value", ["a\nb", "é", "\x7f", "\0"])
def test_a_value_that_cannot_travel(value: str) -> None:
    with pytest.raises(ValueError, match="metadata 'key': expected printable ASCII"):
        encode_metadata([("key", value)])
