"""Chains of output steps: what callers see, what comes out, and what cannot be compiled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from steelyard.errors import ExecutionFailed, ManifestError
from steelyard.models.spec import TensorSpec
from steelyard.models.table import Table
from steelyard.pipelines.outputs.declaration import OutputChain
from steelyard.pipelines.outputs.plan import OutputPlan, compile_outputs
from steelyard.toml import describe_problems

Array = np.ndarray[Any, Any]

LOGITS = TensorSpec("logits", "FP32", (-1, 3), ("ant", "bee", "cat"))
UNNAMED = TensorSpec("logits", "FP32", (-1, 3))
HIDDEN = TensorSpec("last_hidden_state", "FP32", (-1, -1, 2))
TIMES = TensorSpec("paths", "FP32", (-1, -1, 3), ("", "a", "b"))
MASK = TensorSpec("attention_mask", "INT64", (-1, -1))
ROWS = np.array([[0.0, 2.0, 1.0], [5.0, -5.0, 5.0]], np.float32)


def chain(*steps: dict[str, Any], name: str = "logits", **options: Any) -> OutputChain:
    return OutputChain.model_validate({"name": name, "steps": list(steps), **options})


def plan(*steps: dict[str, Any], of: TensorSpec = LOGITS, inputs: Sequence[TensorSpec] = ()) -> OutputPlan:
    return compile_outputs([chain(*steps, name=of.name)], [of], model_inputs=inputs)


def test_without_a_declaration_callers_get_the_models_own_outputs() -> None:
    made = compile_outputs([], [LOGITS, HIDDEN])
    assert made.outputs == (LOGITS, HIDDEN)
    hidden = np.zeros((2, 4, 2), np.float32)
    found = made.finish([ROWS, hidden], 2)
    assert found[0] is ROWS
    assert found[1] is hidden


def test_softmax_and_top_k_give_scores_and_labels() -> None:
    made = plan({"step": "softmax"}, {"step": "top_k", "k": 2})
    assert made.outputs == (TensorSpec("scores", "FP32", (-1, 2)), TensorSpec("labels", "BYTES", (-1, 2)))
    scores, labels = made.finish([ROWS], 2)
    powers = np.exp(ROWS[0])
    np.testing.assert_allclose(scores[0], np.sort(powers / powers.sum())[::-1][:2], rtol=1e-6)
    assert labels.tolist() == [[b"bee", b"cat"], [b"ant", b"cat"]]


def test_top_k_gives_what_is_asked_for_in_that_order_under_those_names() -> None:
    made = plan(
        {
            "step": "top_k",
            "k": 1,
            "give": ["indexes", "labels", "scores"],
            "labels": "kind",
            "indexes": "place",
        }
    )
    assert [(t.name, t.datatype, t.dims) for t in made.outputs] == [
        ("place", "INT64", (-1, 1)),
        ("kind", "BYTES", (-1, 1)),
        ("scores", "FP32", (-1, 1)),
    ]
    indexes, labels, scores = made.finish([ROWS], 2)
    assert (indexes.tolist(), labels.tolist(), scores.tolist()) == (
        [[1], [0]],
        [[b"bee"], [b"ant"]],
        [[2.0], [5.0]],
    )


def test_without_labels_top_k_gives_indexes() -> None:
    made = plan({"step": "top_k", "k": 3}, of=UNNAMED)
    assert [t.name for t in made.outputs] == ["scores", "indexes"]
    assert made.finish([ROWS], 2)[1].tolist() == [[1, 2, 0], [0, 2, 1]]


def test_top_k_of_classes_that_only_a_run_shows_gives_what_there_is() -> None:
    made = plan({"step": "top_k", "k": 5}, of=TensorSpec("logits", "FP32", (-1, -1)))
    assert made.outputs[0].dims == (-1, -1)
    assert made.finish([ROWS], 2)[0].shape == (2, 3)
    with pytest.raises(ExecutionFailed, match="output 'logits': expected at least one class"):
        made.finish([np.zeros((2, 0), np.float32)], 2)


def test_labels_hold_a_dynamic_axis_to_their_number() -> None:
    made = plan({"step": "argmax"}, of=TensorSpec("logits", "FP32", (-1, -1), ("a", "b", "c")))
    assert made.finish([ROWS], 2)[0].tolist() == [b"b", b"a"]
    with pytest.raises(ExecutionFailed, match=r"expected 3 classes, the model gave \[2, 4\]"):
        made.finish([np.zeros((2, 4), np.float32)], 2)


def test_nan_is_never_the_best() -> None:
    rows = np.array([[np.nan, -np.inf, np.nan], [np.nan] * 3], np.float32)
    made = plan({"step": "top_k", "k": 3, "give": ["indexes"]})
    assert made.finish([rows], 2)[0].tolist() == [[1, 0, 2], [0, 1, 2]]
    assert plan({"step": "argmax"}).finish([rows], 2)[0].tolist() == [b"bee", b"ant"]
    assert plan({"step": "threshold", "at": 0.0}).finish([rows], 2)[0].tolist() == [[False] * 3] * 2


def test_argmax_gives_a_label_or_an_index() -> None:
    assert plan({"step": "argmax"}).outputs == (TensorSpec("logits", "BYTES", (-1,)),)
    index = plan({"step": "argmax", "give": "index"})
    assert index.outputs == (TensorSpec("logits", "INT64", (-1,)),)
    assert index.finish([ROWS], 2)[0].tolist() == [1, 0]
    assert plan({"step": "argmax"}, of=UNNAMED).outputs[0].datatype == "INT64"


def test_threshold_gives_truth_or_texts() -> None:
    truth = plan({"step": "threshold", "at": 2})
    assert truth.outputs == (TensorSpec("logits", "BOOL", (-1, 3)),)
    assert truth.finish([ROWS], 2)[0].tolist() == [[False, True, False], [True, False, True]]
    texts = plan({"step": "threshold", "at": 2.0, "label": "late", "otherwise": "on time"})
    assert texts.outputs[0].datatype == "BYTES"
    assert texts.finish([ROWS], 2)[0].tolist()[0] == [b"on time", b"late", b"on time"]
    beyond = plan({"step": "threshold", "at": 1e300})
    assert beyond.finish([np.array([[3e38, np.inf, np.nan]], np.float32)], 1)[0].tolist() == [
        [False, True, False]
    ]


def test_select_gives_one_class_by_index_or_by_label() -> None:
    by_index = plan({"step": "select", "index": 1})
    assert by_index.outputs == (TensorSpec("logits", "FP32", (-1,)),)
    assert by_index.finish([ROWS], 2)[0].tolist() == [2.0, -5.0]
    by_label = plan({"step": "select", "label": "cat", "keep": True})
    assert by_label.outputs == (TensorSpec("logits", "FP32", (-1, 1), ("cat",)),)
    assert by_label.finish([ROWS], 2)[0].tolist() == [[1.0], [5.0]]
    assert plan({"step": "select", "index": 0}, {"step": "threshold", "at": 1.0}).finish([ROWS], 2)[
        0
    ].tolist() == [False, True]
    tokens = plan({"step": "select", "index": 1}, of=HIDDEN)
    assert tokens.outputs[0].dims == (-1, -1)
    assert tokens.finish([np.arange(8.0, dtype=np.float32).reshape(2, 2, 2)], 2)[0].tolist() == [
        [1, 3],
        [5, 7],
    ]


def test_select_of_classes_that_only_a_run_shows_needs_that_many() -> None:
    made = plan({"step": "select", "index": 3}, of=TensorSpec("logits", "INT64", (-1, -1)))
    assert made.finish([np.arange(8).reshape(2, 4)], 2)[0].tolist() == [3, 7]
    with pytest.raises(ExecutionFailed, match=r"expected more than 3 classes, the model gave \[2, 3\]"):
        made.finish([np.zeros((2, 3), np.int64)], 2)


def test_ctc_reads_text_and_says_how_sure_it_is() -> None:
    made = plan({"step": "ctc", "score": "sure"}, of=TIMES)
    assert made.outputs == (TensorSpec("paths", "BYTES", (-1,)), TensorSpec("sure", "FP32", (-1,)))
    paths = np.zeros((2, 4, 3), np.float32)
    paths[0, [0, 1, 2, 3], [1, 1, 0, 1]] = 1.0, 0.5, 0.25, 0.5
    paths[1, :, 0] = 1
    texts, sure = made.finish([paths], 2)
    assert texts.tolist() == [b"aa", b""]
    assert sure.tolist() == [0.75, 0.0]
    assert plan({"step": "ctc", "blank": 1}, of=TIMES).finish([paths], 2)[0].tolist() == [b"", b""]
    with pytest.raises(ExecutionFailed, match=r"expected 3 classes, the model gave \[2, 4, 2\]"):
        made.finish([paths[..., :2]], 2)


def test_two_chains_may_begin_at_the_same_output() -> None:
    made = compile_outputs(
        [
            chain(name="logits"),
            chain({"step": "softmax"}, {"step": "rename", "to": "p"}, source="logits", name="x"),
        ],
        [LOGITS],
    )
    assert [tensor.name for tensor in made.outputs] == ["logits", "p"]
    assert made.outputs[1].labels == LOGITS.labels
    logits, probabilities = made.finish([ROWS], 2)
    assert logits is ROWS
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_labels_of_the_chain_go_before_those_of_the_output() -> None:
    made = compile_outputs([chain({"step": "argmax"})], [LOGITS], labels={"logits": ("x", "y", "z")})
    assert made.finish([ROWS], 2)[0].tolist() == [b"y", b"x"]


def test_pooling_takes_its_mask_from_the_batchs_inputs() -> None:
    made = plan({"step": "pool", "how": "mean"}, {"step": "normalise"}, of=HIDDEN, inputs=[MASK])
    assert made.outputs == (TensorSpec("last_hidden_state", "FP32", (-1, 2)),)
    assert made.inputs == {"attention_mask"}
    hidden = np.array([[[3.0, 0.0], [3.0, 8.0], [9.0, 9.0]]], np.float32)
    mask = np.array([[1, 1, 0]])
    np.testing.assert_allclose(made.finish([hidden], 1, {"attention_mask": mask})[0], [[0.6, 0.8]], rtol=1e-6)
    with pytest.raises(ExecutionFailed, match=r"'attention_mask', \[1, 2\], got \[1, 3, 2\]"):
        made.finish([hidden], 1, {"attention_mask": mask[:, :2]})
    unmasked = plan({"step": "pool", "how": "max", "mask": False}, of=HIDDEN)
    assert unmasked.inputs == frozenset()
    assert unmasked.finish([hidden], 1)[0].tolist() == [[9.0, 9.0]]
    first = plan({"step": "pool", "how": "cls"}, of=HIDDEN)
    assert first.finish([hidden], 1)[0].tolist() == [[3.0, 0.0]]
    with pytest.raises(ExecutionFailed, match="expected a token"):
        first.finish([hidden[:, :0]], 1)


def test_casts_say_their_datatype() -> None:
    made = plan({"step": "cast", "to": "FP16"})
    assert made.outputs[0].datatype == "FP16"
    assert made.finish([ROWS], 2)[0].dtype == np.float16
    bits = plan({"step": "cast", "to": "FP32"}, of=TensorSpec("y", "BF16", (-1,)))
    assert bits.finish([np.array([0x3F80, 0xC000], np.uint16)], 2)[0].tolist() == [1.0, -2.0]


def test_what_is_found_is_contiguous_and_a_scalar_stays_one() -> None:
    made = plan({"step": "rename", "to": "y"}, of=TensorSpec("x", "FP32", (-1, 3)))
    assert made.finish([np.asfortranarray(ROWS)], 2)[0].flags.c_contiguous
    scalar = plan({"step": "sigmoid"}, of=TensorSpec("x", "FP32", ()))
    assert scalar.finish([np.zeros((), np.float32)], 1)[0].shape == ()


@pytest.mark.parametrize(
    ("steps", "of", "message"),
    [
        ([{"step": "softmax"}], TensorSpec("y", "INT64", (-1, 2)), "step 'softmax': expected FP16, FP32, FP64, got"),
        ([{"step": "softmax"}], TensorSpec("y", "FP32", ()), "step 'softmax': expected at least 1 dimensions, got []"),
        ([{"step": "sigmoid"}], TensorSpec("y", "BF16", (-1,)), "got BF16; cast it first"),
        ([{"step": "normalise"}], TensorSpec("y", "BYTES", (-1,)), "step 'normalise': expected FP16"),
        ([{"step": "threshold", "at": 1.0}], TensorSpec("y", "BYTES", (-1,)), "step 'threshold'"),
        ([{"step": "threshold", "at": 1.0, "otherwise": "no"}], UNNAMED, "otherwise is given, and label is not"),
        ([{"step": "cast", "to": "FP32"}], TensorSpec("y", "BYTES", (-1,)), "step 'cast': expected"),
        ([{"step": "top_k", "k": 4}], UNNAMED, "step 'top_k': expected k of at most the 3 classes, got 4"),
        ([{"step": "top_k", "k": 1, "give": ["labels"]}], UNNAMED, "step 'top_k': expected labels"),
        ([{"step": "top_k", "k": 1, "give": ["scores", "scores"]}], UNNAMED, "and each once, got ['scores', 'scores']"),
        ([{"step": "top_k", "k": 1, "give": []}], UNNAMED, "expected at least one in give, and each once, got []"),
        ([{"step": "top_k", "k": 1}, {"step": "softmax"}], UNNAMED, "step 'softmax': stands after 'top_k'"),
        ([{"step": "top_k", "k": 1}], TensorSpec("y", "FP32", (-1, 2), ("a",)), "for each of 2 classes, got 1 labels"),
        ([{"step": "argmax", "give": "label"}], UNNAMED, "step 'argmax': expected labels"),
        ([{"step": "argmax"}], TensorSpec("y", "FP32", (-1, 0)), "step 'argmax': expected classes"),
        ([{"step": "select"}], LOGITS, "step 'select': expected index or label, and not both"),
        ([{"step": "select", "index": 0, "label": "ant"}], LOGITS, "expected index or label, and not both"),
        ([{"step": "select", "index": 3}], LOGITS, "expected index below the 3 classes, got 3"),
        ([{"step": "select", "label": "dog"}], LOGITS, "expected one class of the label 'dog', got 0"),
        ([{"step": "select", "label": "a"}], TensorSpec("y", "FP32", (-1, 2), ("a", "a")), "the label 'a', got 2"),
        ([{"step": "select", "label": "ant"}], UNNAMED, "step 'select': expected labels"),
        ([{"step": "select", "index": 0}], TensorSpec("y", "FP32", (-1,)), "expected classes for each row, got [-1]"),
        ([{"step": "select", "index": 0}], TensorSpec("y", "BYTES", (-1, 2)), "step 'select': expected FP16"),
        ([{"step": "ctc"}], HIDDEN, "step 'ctc': expected labels"),
        ([{"step": "ctc"}], LOGITS, "step 'ctc': expected at least 3 dimensions, got [-1, 3]"),
        ([{"step": "ctc"}], TensorSpec("y", "FP32", (-1, 1, 1, 1), ("a",)), "expected [rows, times, classes]"),
        ([{"step": "ctc"}], TensorSpec("y", "INT32", (-1, 5, 1), ("a",)), "got INT32; cast it first"),
        ([{"step": "ctc"}], TensorSpec("y", "FP32", (-1, 5, 2), ("a",)), "for each of 2 classes, got 1 labels"),
        ([{"step": "ctc", "blank": 3}], TIMES, "expected blank below the 3 classes, got 3"),
        ([{"step": "ctc"}, {"step": "rename", "to": "x"}], TIMES, "step 'rename': stands after 'ctc'"),
        ([{"step": "argmax"}, {"step": "softmax"}], UNNAMED, "step 'softmax': expected FP16, FP32, FP64, got INT64"),
        ([{"step": "pool", "how": "mean"}], UNNAMED, "step 'pool': expected at least 3 dimensions, got [-1, 3]"),
        ([{"step": "pool", "how": "mean"}], TensorSpec("y", "FP32", (-1, 1, 1, 1)), "expected [rows, tokens, width]"),
        ([{"step": "pool", "how": "cls"}], TensorSpec("y", "FP32", (-1, 0, 4)), "expected a token"),
        ([{"step": "pool", "how": "mean", "mask": "msk"}], HIDDEN, "inputs (attention_mask, ids), or false"),
        ([{"step": "pool", "how": "mean", "mask": "ids"}], HIDDEN, "'ids' is BYTES of [-1]"),
    ],
)  # fmt: skip
def test_what_does_not_meet_is_named_with_the_output_and_the_step(
    steps: list[dict[str, Any]], of: TensorSpec, message: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        plan(*steps, of=of, inputs=[MASK, TensorSpec("ids", "BYTES", (-1,))])
    assert str(caught.value).startswith(f"output '{of.name}': step '")
    assert message in str(caught.value)


def test_an_output_that_the_model_has_not_names_the_nearest() -> None:
    with pytest.raises(ManifestError, match="the model has no output 'logit', did you mean 'logits'"):
        compile_outputs([chain(name="logit")], [LOGITS])


def test_two_outputs_of_one_name_are_refused() -> None:
    with pytest.raises(ManifestError, match="output 'b': another output is called 'scores' as well"):
        compile_outputs(
            [chain({"step": "top_k", "k": 1}, name=name, source="logits") for name in "ab"], [LOGITS]
        )


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"step": "softmax", "axis": 1}, "[output 1.steps 1 'softmax'] unknown key 'axis'"),
        ({"step": "top_k", "k": 0}, "k: expected at least 1, got 0"),
        ({"step": "select", "index": -1}, "index: expected at least 0, got -1"),
        ({"step": "ctc", "blank": -1}, "blank: expected at least 0, got -1"),
        ({"step": "top_k", "kk": 1, "k": 1}, "unknown key 'kk', did you mean 'k'"),
        ({"step": "threshold", "at": float("nan")}, "at: expected a finite number"),
        ({"step": "threshold", "at": True}, "at: expected a number, got true"),
        ({"step": "pool"}, "how: expected, but not given"),
        (
            {"step": "pool", "how": "mean", "mask": True},
            "expected the name of one of the model's inputs, or false",
        ),
        (
            {"step": "top_k", "k": 1, "give": ["best"]},
            "give.0: expected 'scores', 'labels' or 'indexes', got 'best'",
        ),
        ({"step": "cast", "to": "FP8"}, "to: expected 'FP16'"),
        ({"step": "soft_max"}, "unknown step 'soft_max', did you mean 'softmax'?"),
        ({}, "step: expected, but not given"),
    ],
)
def test_wrong_options_are_named(step: dict[str, Any], message: str) -> None:
    class Manifest(Table):
        output: tuple[OutputChain, ...]

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Manifest.model_validate({"output": ({"name": "y", "steps": [step]},)})
    (line,) = describe_problems(caught.value, Manifest)  # type: ignore[arg-type]
    assert message in line, line
    assert line.startswith("[output 1.steps 1")
