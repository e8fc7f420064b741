"""Our windows against those that the magika package makes of the same bytes."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from magika import Magika
from magika.types import Seekable

from steelyard.demo.corpus import default_roots, find_files
from steelyard.demo.features import FeatureSpec, extract
from steelyard.errors import ConfigError

SPEC = FeatureSpec.packaged()
MAGIKA = Magika()


def magikas_row(content):
    """What the package asks its model about these bytes, or None where it does not ask."""
    if not content:
        return None
    result, features = MAGIKA._get_result_or_features_from_seekable(Seekable(io.BytesIO(content)))
    if features is None:
        assert result.dl.label == "undefined"
        return None
    return [*features.beg, *features.end]


def assert_same(content):
    ours, theirs = extract(SPEC, content), magikas_row(content)
    if theirs is None:
        assert ours is None
    else:
        assert ours is not None
        assert ours.dtype == np.int32
        assert ours.shape == (2048,)
        assert ours.tolist() == theirs


BLANKS = st.text(" \t\n\r\v\f", max_size=40).map(str.encode)
LENGTHS = st.sampled_from(
    [0, 1, 7, 8, 9, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 5119, 5120, 8191, 8192, 8193]
)


@given(BLANKS, st.binary(max_size=64), LENGTHS, st.binary(min_size=1, max_size=4), BLANKS)
@example(b"", b"", 0, b"x", b"")
@example(b" " * 40, b"", 4096, b" ", b" ")
@example(b"\n" * 40, b"12345678", 0, b"x", b"\n" * 40)
def test_windows_are_those_of_the_package(before, head, length, filling, after):
    body = (filling * length)[:length]
    assert_same(before + head + body + after)


@pytest.mark.parametrize("length", [1, 7, 8, 1024, 4095, 4096, 4097, 10_000])
@pytest.mark.parametrize("blank", [b" ", b"\n", b"\x0b", b"\x1c", b"\x00"])
def test_files_of_one_byte_repeated(length, blank):
    assert_same(blank * length)


def test_text_behind_more_than_a_block_of_white_space():
    assert_same(b" " * 5000 + b"text that the first window does not see" + b" " * 3000)
    assert_same(b"text that the last window does not see" + b" " * 5000)


def test_real_files():
    seen = 0
    for file in find_files(default_roots()):
        assert_same(file.content)
        seen += 1
        if seen == 300:
            break
    assert seen == 300


def test_labels_are_the_outputs_of_the_model():
    assert len(SPEC.labels) == 214
    assert len(set(SPEC.labels)) == 214
    assert "python" in SPEC.labels


@pytest.mark.parametrize("change", [{"mid_size": 512}, {"use_inputs_at_offsets": True}])
def test_a_model_with_other_windows_is_refused(change):
    config = {
        "beg_size": 4,
        "mid_size": 0,
        "end_size": 4,
        "use_inputs_at_offsets": False,
        "block_size": 16,
        "padding_token": 256,
        "min_file_size_for_dl": 2,
        "target_labels_space": ["a", "b"],
    }
    assert FeatureSpec.from_config(config).tokens == 8
    with pytest.raises(ConfigError, match="beginning and the end"):
        FeatureSpec.from_config(config | change)


def test_this_very_file():
    row = extract(SPEC, Path(__file__).read_bytes())
    assert row is not None
    assert bytes(row[:14].astype(np.uint8)) == b'"""Our windows'
