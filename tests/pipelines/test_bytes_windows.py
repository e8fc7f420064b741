"""Windows of files: the native kernel against its twin, against magika's own features, and what cannot be compiled."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from steelyard._native import windows as native
from steelyard.demo.features import FeatureSpec, extract
from steelyard.errors import InvalidRequest, ManifestError
from steelyard.models.datatypes import BY_NAME
from steelyard.models.spec import TensorSpec
from steelyard.pipelines.bytes.windows import WindowsStep, compile_windows
from steelyard.pipelines.plain import windows as plain
from steelyard.pipelines.plan import INLINE_BYTES
from tests.pipelines.tensors import of_bytes

SPEC = FeatureSpec.packaged()
MAGIKA = WindowsStep(
    step="windows",
    begin=SPEC.begin_tokens,
    end=SPEC.end_tokens,
    block=SPEC.block_bytes,
    pad=SPEC.padding_token,
    minimum=SPEC.min_tokens,
)
FILES = TensorSpec("file", "BYTES", (-1,))

spaced = st.binary(max_size=60) | st.text(" \t\n\r\x0b\x0c\x00ax", max_size=60).map(str.encode)
options = st.fixed_dictionaries(
    {
        "begin": st.integers(0, 20),
        "middle": st.integers(0, 20),
        "end": st.integers(0, 20),
        "block": st.integers(20, 40),
        "strip": st.booleans(),
        "minimum": st.integers(0, 20),
    }
).filter(lambda given: given["begin"] + given["middle"] + given["end"] > 0)


def model_input(tokens: int, datatype: str = "INT32") -> TensorSpec:
    return TensorSpec("bytes", datatype, (-1, tokens))


def outcome(run: Any) -> Any:
    try:
        return run()
    except ValueError:
        return ValueError


@given(st.lists(spaced, max_size=5), options, st.sampled_from([1, 2, 4, 8]), st.integers(0, 255))
@settings(deadline=None)
def test_native_windows_are_those_of_the_twin(
    files: list[bytes], given: dict[str, Any], item: int, pad: int
) -> None:
    table = np.array([*range(256), pad], f"<u{item}").tobytes()
    data = of_bytes(files).data
    results = []
    for module in (native, plain):
        kernel = module.Windows(**given, table=table, item_bytes=item)
        target = np.full((len(files), kernel.tokens), 99, f"<u{item}")
        kernel.fill(target, data)
        results.append((kernel.short(data, len(files)), target.tolist()))
    assert results[0] == results[1]


@given(st.binary(max_size=30), st.integers(0, 4), options)
@example(
    b"\xff\xff\xff\xff", 1, {"begin": 1, "middle": 0, "end": 0, "block": 20, "strip": True, "minimum": 0}
)
@settings(deadline=None)
def test_data_that_holds_no_such_elements_is_refused_by_both(
    data: bytes, rows: int, given: dict[str, Any]
) -> None:
    table = bytes(257)
    results = []
    for module in (native, plain):
        kernel = module.Windows(**given, table=table, item_bytes=1)
        target = np.full((rows, kernel.tokens), 99, np.uint8)
        results.append(
            (
                outcome(lambda k=kernel: k.short(data, rows)),
                outcome(lambda k=kernel, t=target: k.fill(t, data)),
            )
        )
    assert results[0] == results[1]


blocks = st.integers(0, 3 * SPEC.block_bytes).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.integers(0, SPEC.block_bytes + 10),
        st.integers(0, SPEC.block_bytes + 10),
        st.randoms(use_true_random=False),
    )
)


@given(st.lists(blocks, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_rows_are_those_that_magika_makes(shapes: list[Any]) -> None:
    files = []
    for size, left, right, random in shapes:
        content = bytearray(random.randbytes(size))
        content[: min(left, size)] = b" \t\r\n\x0b\x0c" * (SPEC.block_bytes // 6 + 5)
        content = content[:size]
        if right:
            content[max(0, size - right) :] = b"\n" * min(right, size)
        files.append(bytes(content))
    preparer = compile_windows(MAGIKA, FILES, model_input(SPEC.tokens))
    made = preparer.prepare([of_bytes(files)], len(files))
    target = np.empty(made.tensors[0].shape, np.int32)
    made.tensors[0].fill(target)
    small = {problem.row for problem in made.problems}
    for row, content in enumerate(files):
        expected = extract(SPEC, content)
        assert (expected is None) == (row in small)
        if expected is not None:
            assert target[row].tolist() == expected.tolist()
        assert target[row].tolist() == features_by_magika(content)


def features_by_magika(content: bytes) -> list[int]:
    from magika import Magika
    from magika.types import Seekable

    features = Magika._extract_features_from_seekable(
        Seekable(io.BytesIO(content)),
        SPEC.begin_tokens,
        0,
        SPEC.end_tokens,
        SPEC.padding_token,
        SPEC.block_bytes,
        False,
    )
    return [*features.beg, *features.end]


def test_the_middle_window_stands_in_the_middle_and_is_not_stripped() -> None:
    step = WindowsStep(step="windows", middle=4, block=8, pad=256)
    preparer = compile_windows(step, FILES, model_input(4))
    made = preparer.prepare([of_bytes([b"aab  bcc", b" x ", b"abcde"])], 3)
    target = np.empty((3, 4), np.int32)
    made.tensors[0].fill(target)
    assert target.tolist() == [list(b"b  b"), [*b" x ", 256], list(b"abcd")]


def test_a_small_file_is_a_problem_of_its_row_alone() -> None:
    preparer = compile_windows(MAGIKA, FILES, model_input(SPEC.tokens))
    made = preparer.prepare([of_bytes([b"x" * 100, b"", b"   1234567", b"x" * 8])], 4)
    assert [(p.row, p.column, p.rule, p.value) for p in made.problems] == [
        (1, "file", "size", "0 bytes"),
        (2, "file", "size", "7 bytes"),
    ]
    assert made.problems[0].expected == "at least 8 bytes after leading white space"
    target = np.empty(made.tensors[0].shape, np.int32)
    made.tensors[0].fill(target)
    assert (target[1] == SPEC.padding_token).all()


def test_preparing_keeps_the_bytes_of_the_request_and_copies_nothing() -> None:
    tensor = of_bytes([b"x" * 10_000])
    made = compile_windows(MAGIKA, FILES, model_input(SPEC.tokens)).prepare([tensor], 1)
    (prepared,) = made.tensors
    assert prepared.held_bytes == 10_004
    assert prepared.data.obj is tensor.data.obj


@pytest.mark.parametrize(
    "datatype", [name for name in BY_NAME if name not in ("BYTES", "BOOL", "UINT8", "INT8")]
)
def test_every_number_type_that_holds_the_tokens_is_filled(datatype: str) -> None:
    step = WindowsStep(step="windows", begin=256, block=256, pad=256, strip=False)
    content = bytes(range(255))
    made = compile_windows(step, FILES, model_input(256, datatype)).prepare([of_bytes([content])], 1)
    target = np.empty((1, 256), BY_NAME[datatype].dtype)
    made.tensors[0].fill(target)
    values = (target.astype(np.uint32) << 16).view(np.float32) if datatype == "BF16" else target
    assert values[0].tolist() == [*range(255), 256]


def test_a_padding_below_zero_fits_signed_types() -> None:
    step = WindowsStep(step="windows", end=3, block=8, pad=-1)
    made = compile_windows(step, FILES, model_input(3, "INT64")).prepare([of_bytes([b"a"])], 1)
    target = np.empty((1, 3), np.int64)
    made.tensors[0].fill(target)
    assert target.tolist() == [[-1, -1, 97]]


@pytest.mark.parametrize(
    ("source", "target", "pad", "message"),
    [
        (
            TensorSpec("file", "UINT8", (-1, 9)),
            model_input(4),
            0,
            "expected BYTES of [-1], got UINT8 of [-1, 9]",
        ),
        (
            TensorSpec("file", "BYTES", (-1, 2)),
            model_input(4),
            0,
            "expected BYTES of [-1], got BYTES of [-1, 2]",
        ),
        (FILES, model_input(5), 0, "makes rows of 4 tokens, the model's input 'bytes' expects [-1, 5]"),
        (FILES, TensorSpec("bytes", "INT32", (4,)), 0, "makes rows of 4 tokens"),
        (FILES, model_input(4, "INT8"), 0, "do not fit INT8"),
        (FILES, model_input(4, "UINT8"), 256, "pad 256 and bytes of 0 to 255 do not fit UINT8"),
        (FILES, model_input(4, "BOOL"), 0, "do not fit BOOL"),
        (FILES, model_input(4, "UINT16"), -1, "do not fit UINT16"),
        (FILES, model_input(4, "FP16"), 2049, "do not fit FP16"),
        (FILES, model_input(4, "FP16"), 10**30, "do not fit FP16"),
        (FILES, model_input(4, "BF16"), 257, "do not fit BF16"),
        (FILES, model_input(4, "BF16"), 10**400, "do not fit BF16"),
        (FILES, model_input(4, "FP64"), 10**400, "do not fit FP64"),
        (FILES, model_input(4, "INT64"), 2**63, "do not fit INT64"),
    ],
)
def test_what_does_not_meet_is_named_with_the_input_and_the_step(
    source: TensorSpec, target: TensorSpec, pad: int, message: str
) -> None:
    step = WindowsStep(step="windows", begin=2, end=2, block=8, pad=pad)
    with pytest.raises(ManifestError) as caught:
        compile_windows(step, source, target)
    assert str(caught.value).startswith("input 'file': step 'windows': ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"block": 8, "pad": 0}, "at least one token"),
        ({"begin": 9, "block": 8, "pad": 0}, "at most block = 8 bytes, got 9"),
        ({"begin": 1, "block": 8, "pad": 0, "minimum": 9}, "minimum of at most block = 8 bytes, got 9"),
        ({"begin": 1, "block": 8}, "pad"),
        ({"begin": 1, "block": 8, "pad": 0, "padd": 0}, "padd"),
        ({"begin": -1, "block": 8, "pad": 0}, "begin"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        WindowsStep.model_validate({"step": "windows", **given})


def test_data_that_is_none_fails_the_request() -> None:
    preparer = compile_windows(MAGIKA, FILES, model_input(SPEC.tokens))
    with pytest.raises(InvalidRequest, match="input 'file': expected 2 elements"):
        preparer.prepare([of_bytes([b"x"])], 2)


def test_a_request_of_a_million_empty_files_is_refused_before_it_is_prepared() -> None:
    preparer = compile_windows(MAGIKA, FILES, model_input(SPEC.tokens))
    with pytest.raises(InvalidRequest, match="1000000 rows of 2048 make 8192000000"):
        preparer.prepare([of_bytes([b""] * 1_000_000)], 1_000_000)


def test_many_rows_are_filled_as_by_the_twin() -> None:
    # Enough for the native kernel to give up the GIL.
    files = [bytes([row % 256]) * (row * 7) for row in range(100)]
    rows = []
    for module in (native.Windows, plain.Windows):
        preparer = compile_windows(MAGIKA, FILES, model_input(SPEC.tokens), module)
        target = np.empty((len(files), SPEC.tokens), np.int32)
        preparer.prepare([of_bytes(files)], len(files)).tensors[0].fill(target)
        rows.append(target)
    np.testing.assert_array_equal(*rows)
    assert preparer.looks_at(100, 1) < INLINE_BYTES


@pytest.mark.parametrize("module", [native, plain], ids=["native", "plain"])
def test_kernels_refuse_sizes_that_are_none(module: Any) -> None:
    good = {"begin": 1, "middle": 0, "end": 0, "block": 1, "strip": True, "minimum": 0}
    for change in ({"begin": -1, "end": 3}, {"block": 0}, {"minimum": -1}, {"begin": 0}):
        with pytest.raises(ValueError, match="at least one token"):
            module.Windows(**{**good, **change}, table=bytes(257), item_bytes=1)
    for table, item in ((bytes(256), 1), (bytes(257), 2), (bytes(257 * 3), 3)):
        with pytest.raises(ValueError, match="257 elements"):
            module.Windows(**good, table=table, item_bytes=item)


def test_a_target_of_other_rows_is_refused() -> None:
    kernel = native.Windows(
        begin=2, middle=0, end=0, block=2, strip=True, minimum=0, table=bytes(514), item_bytes=2
    )
    data = of_bytes([b"ab"]).data
    for target in (np.zeros(3, np.uint16), np.zeros((1, 2), np.uint8), np.zeros((2, 2), np.uint16)):
        with pytest.raises(ValueError, match="expected"):
            kernel.fill(target, data)
    locked = np.zeros((1, 2), np.uint16)
    locked.setflags(write=False)
    with pytest.raises((ValueError, BufferError)):
        kernel.fill(locked, data)
