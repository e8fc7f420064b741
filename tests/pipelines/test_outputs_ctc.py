"""The best path of CTC, against a loop over its times."""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from steelyard.models.spec import TensorSpec
from steelyard.pipelines.outputs.declaration import OutputChain
from steelyard.pipelines.outputs.plan import compile_outputs

Array = np.ndarray[Any, Any]

CLASSES = ("", "a", "β", "🎈x")
DATATYPES = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
# Few different values, so that paths repeat classes and times have ties.
FEW = st.sampled_from([0.0, 0.25, 1.0, -0.5, math.nan, math.inf, -math.inf])


def read_by_times(scores: list[list[float]], blank: int) -> tuple[str, list[float]]:
    """The text of one row, and the scores that it was read from."""
    text, kept, before = "", [], None
    for time in scores:
        best = 0
        for place, score in enumerate(time):
            if score == score and (time[best] != time[best] or score > time[best]):
                best = place
        if best not in (blank, before):
            text += CLASSES[best]
            kept.append(time[best])
        before = best
    return text, kept


def read(scores: Array, datatype: str, blank: int) -> tuple[Array, Array]:
    """What the step gives: texts and scores."""
    chain = OutputChain.model_validate(
        {"name": "text", "source": "y", "steps": [{"step": "ctc", "blank": blank, "score": "score"}]}
    )
    model = TensorSpec("y", datatype, (-1, -1, len(CLASSES)), CLASSES)
    texts, means = compile_outputs([chain], [model]).finish([scores], len(scores))
    return texts, means


@given(st.data(), st.sampled_from(sorted(DATATYPES)), st.integers(0, len(CLASSES) - 1))
@settings(deadline=None)
def test_what_is_read_is_what_a_loop_reads(data: st.DataObject, datatype: str, blank: int) -> None:
    shape = (data.draw(st.integers(0, 3)), data.draw(st.integers(0, 9)), len(CLASSES))
    scores = data.draw(hnp.arrays(DATATYPES[datatype], shape, elements=FEW))
    texts, means = read(scores, datatype, blank)
    assert means.dtype == scores.dtype
    assert texts.shape == means.shape == shape[:1]
    for row, text, mean in zip(scores.tolist(), texts.tolist(), means.tolist(), strict=True):
        expected, kept = read_by_times(row, blank)
        assert text.decode() == expected
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(mean, np.mean(kept) if kept else 0.0, rtol=1e-3)


@given(st.data(), st.sampled_from(sorted(DATATYPES)))
@settings(deadline=None)
def test_a_row_is_read_the_same_in_any_batch(data: st.DataObject, datatype: str) -> None:
    scores = data.draw(
        hnp.arrays(DATATYPES[datatype], (3, 6, len(CLASSES)), elements=st.floats(0, 1, width=16))
    )
    texts, means = read(scores, datatype, 0)
    for row in range(3):
        alone, mean = read(scores[row : row + 1], datatype, 0)
        assert (alone[0], mean.tobytes()) == (texts[row], means[row : row + 1].tobytes())
